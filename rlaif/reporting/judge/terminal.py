"""The judge report in a terminal of eighty columns.

Invariant: what a judge, a model or a label file has written is printed as text alone, as in `rlaif.reporting.terminal`.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlaif.judge_evals.attack_resistance import AttackMeasurement
from rlaif.judge_evals.comparison import Comparison
from rlaif.judge_evals.measurement import Measurement
from rlaif.judge_evals.report import JudgeReport
from rlaif.reporting.judge.figures import FIGURES, Part, interval, written
from rlaif.reporting.terminal import plain
from rlaif.stats.bootstrap import Estimate

_TITLES: Mapping[Part, str] = {
    "people": "against people",
    "position": "order of the answers",
    "length": "length",
    "calibration": "calibration",
    "verdicts": "verdicts",
    "cost": "cost",
}
_RARE = ("tie", "unparsed", "error", "silent", "verdict_tie", "verdict_unparsed", "verdict_error")
_FLIPS_SHOWN = 20


def report_view(report: JudgeReport) -> RenderableType:
    """Return a report's figures and what they come to in words."""
    found = report.measurement
    parts: list[RenderableType] = [_figures(found)]
    if report.attacks is not None:
        parts.append(_attacks(report.attacks))
    parts.extend(plain(line) for line in headline(report.name, found))
    return Group(*parts)


def headline(name: str, found: Measurement) -> list[str]:
    """Return what a measurement says in words: one sentence, and what it should be read with."""
    accuracy, longer = found.figures.get("accuracy"), found.figures.get("always_longer")
    if accuracy is None or accuracy.value is None:
        return [f"People prefer neither answer on any of the {found.labels:,} labels: nothing to agree with."]
    of = f"{found.preferred:,} labels" if found.preferred == found.labels else (
        f"the {found.preferred:,} of {found.labels:,} labels on which people prefer one answer"
    )  # fmt: skip
    lines = [f"{name} decides for people's choice on {_span(accuracy, 'accuracy')} of {of}."]
    half = found.figures["ties_half"]
    if half.low is not None and half.high is not None and half.low <= 0.5 <= half.high:
        lines.append(f"With a tie counted half it is {_span(half, 'ties_half')}: not to be told from a coin.")
    if longer is not None and longer.value is not None and half.value is not None and longer.value >= half.value:
        lines.append(f"Always taking the longer answer reaches {written(longer.value, 'share')}.")
    lines += _preferences(found)
    if found.questions < found.labels:
        lines.append(f"The labels are about {found.questions:,} questions; intervals draw questions, not labels.")
    return lines


def _preferences(found: Measurement) -> list[str]:
    """Return what the judge prefers for the wrong reasons, where that cannot be chance."""
    lines = []
    for speaker in found.speakers:
        first = speaker.figures.get("prefers_first")
        if first is not None and _apart(first, 0.5):
            place = "first" if (first.value or 0.0) > 0.5 else "second"
            share = first.value if place == "first" else 1.0 - (first.value or 0.0)
            who = "It" if len(found.speakers) == 1 else speaker.name
            lines.append(f"{who} prefers what is shown {place}: {written(share, 'share')} of its verdicts.")
    longer, people = found.figures.get("prefers_longer"), found.figures.get("people_prefer_longer")
    if longer is not None and people is not None and people.value is not None and _apart(longer, people.value):
        took = written(longer.value, "share")
        lines.append(
            f"It takes the longer answer in {took} of its decisions, people in {written(people.value, 'share')}."
        )
    return lines


def _apart(found: Estimate, value: float) -> bool:
    return found.low is not None and found.high is not None and not found.low <= value <= found.high


def comparison_view(names: tuple[str, str], found: Comparison) -> RenderableType:
    """Return two judges' accuracies, their difference, and the labels on which they part."""
    table = _table("judge", "accuracy", f"{_level(0.95)}", "labels")
    for name, accuracy in zip(names, (found.first, found.second), strict=True):
        table.add_row(plain(name), written(accuracy.value, "share"), interval(accuracy, "share"), f"{accuracy.n:,}")
    table.add_row(
        "second − first", _signed(found.difference.value), _signed_interval(found.difference), f"{found.labels:,}",
        style="bold",
    )  # fmt: skip
    lines = [
        f"both right {found.both_right:,} · only {names[0]} {found.only_first:,} · only {names[1]} "
        f"{found.only_second:,} · neither {found.neither:,}",
        f"McNemar's exact test: p = {found.p_value:.3g}. They decide the same on "
        f"{written(found.same_decision.value, 'share')} of {found.same_decision.n:,} labels.",
    ]
    return Group(table, *(plain(line) for line in lines), *_flips(names, found))


def _flips(names: tuple[str, str], found: Comparison) -> Iterator[RenderableType]:
    if not found.flips:
        return
    table = _table("label", "people", *names, "right")
    for flip in found.flips[:_FLIPS_SHOWN]:
        table.add_row(
            plain(flip.first.label.id), flip.first.label.human, flip.first.side or flip.first.outcome,
            flip.second.side or flip.second.outcome, plain(names[0] if flip.better == "first" else names[1]),
        )  # fmt: skip
    yield table
    if len(found.flips) > _FLIPS_SHOWN:
        yield plain(f"{_FLIPS_SHOWN} of {len(found.flips):,} labels on which one alone is right; --json has all.")


def _figures(found: Measurement) -> Table:
    table = _table("", "", _level(found.confidence), "of")
    _rows(table, found.figures, ("people", "length", "calibration"))
    for speaker in found.speakers:
        if len(found.speakers) > 1:
            table.add_section()
            table.add_row(Text.assemble("member ", plain(speaker.name)), "", "", f"{speaker.labels:,}", style="bold")
        _rows(table, speaker.figures, ("position", "calibration", "verdicts", "cost"), speaker.spent.currency)
    return table


def _rows(table: Table, figures: Mapping[str, Estimate], parts: Sequence[Part], currency: str | None = None) -> None:
    for part in parts:
        rows = [
            (text, figures[name])
            for name, text in FIGURES.items()
            # What never happened needs no row of zeros in a terminal; report.json has it.
            if text.part == part and name in figures and (name not in _RARE or figures[name].value)
        ]
        if rows:
            table.add_section()
            table.add_row(Text(_TITLES[part], style="bold"))
        for text, found in rows:
            table.add_row(
                text.title, written(found.value, text.unit, currency), interval(found, text.unit), f"{found.n:,}"
            )


def _attacks(attacks: Sequence[AttackMeasurement]) -> RenderableType:
    if not any(attack.flipped.n or attack.failed for attack in attacks):
        return plain("No verdict is right: there is nothing to attack.")
    table = _table("attack in the rejected answer", "flips", "", "undoes", "of")
    for attack in attacks:
        table.add_row(
            plain(attack.name), written(attack.flipped.value, "share"), interval(attack.flipped, "share"),
            written(attack.undone.value, "share"), f"{attack.flipped.n:,}",
        )  # fmt: skip
    return table


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(plain(column), justify="right" if index else "left", no_wrap=bool(index), overflow="fold")
    return table


def _level(confidence: float) -> str:
    return f"{100 * confidence:g}% interval"


def _span(estimate: Estimate, name: str) -> str:
    unit = FIGURES[name].unit
    return f"{written(estimate.value, unit)} {interval(estimate, unit)}".rstrip()


def _signed(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:+.1f}%"


def _signed_interval(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"[{_signed(estimate.low)}, {_signed(estimate.high)}]"
