"""A judge report's figures as text, the same in the terminal and on the page: rows, and a headline of a few sentences.

Invariant: the headline names a bias only where its interval excludes the unbiased value.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from rlaif.judge_evals.figures import FIGURES, Part, Unit
from rlaif.judge_evals.judge_report import Measurement
from rlaif.reporting.figure_text import DASH
from rlaif.stats.bootstrap import Estimate


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure, with its value, interval and count as text."""

    name: str
    title: str
    value: str
    interval: str
    n: str
    meaning: str


def figure_rows(figures: Mapping[str, Estimate], part: Part, currency: str | None = None) -> list[FigureRow]:
    """Return the figures of one part of the report, in the order of their definitions."""
    return [
        FigureRow(
            name,
            figure.title,
            format_value(figures[name].value, figure.unit, currency),
            format_interval(figures[name], figure.unit),
            f"{figures[name].n:,}",
            figure.meaning,
        )
        for name, figure in FIGURES.items()
        if figure.part == part and name in figures
    ]


def format_value(value: float | None, unit: Unit, currency: str | None = None) -> str:
    """Return a value with its unit: `94.0%`, `0.816`, `1,204`, `0.35 s`, `0.0012 USD`."""
    if value is None:
        return DASH
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "tokens":
        return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
    if unit == "seconds":
        return f"{value:.2f} s"
    if unit == "money":
        return f"{value:,.2f} {currency}" if value >= 1 else f"{value:.3g} {currency}"
    return f"{value:.3f}"


def format_interval(found: Estimate, unit: Unit) -> str:
    """Return an estimate's interval, `[89.0%, 98.0%]`; "" without one.

    Where all labels agree, resampling shows no uncertainty, and an interval without width would claim certainty: it is
    left out.
    """
    if found.low is None or found.high is None:
        return ""
    low, high = format_value(found.low, unit, ""), format_value(found.high, unit, "")
    return "" if low == high else f"[{low.rstrip()}, {high.rstrip()}]"


def headline(name: str, found: Measurement) -> list[str]:
    """Return a judge's measurement in words: one sentence, and the remarks to read it with."""
    accuracy, longer = found.figures.get("accuracy"), found.figures.get("always_longer")
    if accuracy is None or accuracy.value is None:
        return [f"People prefer neither answer on any of the {found.labels:,} labels: there is no accuracy to measure."]
    of = f"{found.preferred:,} labels"
    if found.preferred != found.labels:
        of = f"the {found.preferred:,} of {found.labels:,} labels on which people prefer one answer"
    lines = [f"{name} decides for people's choice on {_share(accuracy)} of {of}."]
    if note := found.errors.note:
        lines.append(note)
    half = found.figures["ties_half"]
    if not _excludes(half, 0.5):
        lines.append(f"With a tie counted as one half it is {_share(half)}, which does not differ from chance.")
    if longer is not None and longer.value is not None and half.value is not None and longer.value >= half.value:
        lines.append(f"Always choosing the longer answer reaches {format_value(longer.value, 'share')}.")
    lines += _biases(found)
    if found.questions < found.labels:
        lines.append(f"The labels are about {found.questions:,} questions; intervals resample questions, not labels.")
    return lines


def _biases(found: Measurement) -> list[str]:
    lines = []
    for judge in found.judges:
        first = judge.figures.get("prefers_first")
        if first is not None and first.value is not None and _excludes(first, 0.5):
            shown, share = ("first", first.value) if first.value > 0.5 else ("second", 1.0 - first.value)
            who = "It" if len(found.judges) == 1 else judge.name
            lines.append(f"{who} prefers the answer shown {shown}: {format_value(share, 'share')} of its verdicts.")
    longer, people = found.figures.get("prefers_longer"), found.figures.get("people_prefer_longer")
    if longer is not None and people is not None and people.value is not None and _excludes(longer, people.value):
        lines.append(
            f"It chooses the longer answer in {format_value(longer.value, 'share')} of its decisions, people in "
            f"{format_value(people.value, 'share')}."
        )
    return lines


def _share(found: Estimate) -> str:
    return f"{format_value(found.value, 'share')} {format_interval(found, 'share')}".rstrip()


def _excludes(found: Estimate, value: float) -> bool:
    return found.low is not None and found.high is not None and not found.low <= value <= found.high
