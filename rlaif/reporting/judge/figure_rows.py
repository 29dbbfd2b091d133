"""A judge report's figures as rows of text, the same in the terminal and on the page."""

from collections.abc import Mapping
from dataclasses import dataclass

from rlaif.judge_evals.figures import FIGURES, Part, Unit
from rlaif.reporting.figure_text import DASH
from rlaif.stats.bootstrap import Estimate


@dataclass(frozen=True, slots=True)
class FigureRow:
    """One figure: its name, title and meaning, and its value with interval and count as text."""

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


def format_estimate(found: Estimate, name: str) -> str:
    """Return a figure's value with its interval."""
    unit = FIGURES[name].unit
    return f"{format_value(found.value, unit)} {format_interval(found, unit)}".rstrip()
