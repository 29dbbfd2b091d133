"""The judge report in a terminal of eighty columns.

Invariant: text from a judge, a model or a label file is printed as plain text, as in `rlaif.reporting.terminal`.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlaif.judge_evals.attacks import AttackMeasurement
from rlaif.judge_evals.comparison import JudgeComparison
from rlaif.judge_evals.figures import Part
from rlaif.judge_evals.judge_report import JudgeReport, Measurement
from rlaif.reporting.figure_text import DASH
from rlaif.reporting.judge.figure_rows import figure_rows, format_interval, format_value
from rlaif.reporting.judge.headline import headline
from rlaif.reporting.terminal import plain, plain_table
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
    """Return a report's figures and its headline."""
    found = report.measurement
    parts: list[RenderableType] = [_figures(found)]
    if report.attacks is not None:
        parts.append(_attacks(report.attacks))
    parts.extend(plain(line) for line in headline(report.name, found))
    return Group(*parts)


def comparison_view(names: tuple[str, str], found: JudgeComparison) -> RenderableType:
    """Return two judges' accuracies, their difference, and the labels on which only one is right."""
    table = _table("judge", "accuracy", _level(0.95), "labels")
    for name, accuracy in zip(names, (found.first, found.second), strict=True):
        table.add_row(
            plain(name), format_value(accuracy.value, "share"), format_interval(accuracy, "share"), f"{accuracy.n:,}"
        )
    table.add_row(
        "second − first", _signed(found.difference.value), _signed_interval(found.difference), f"{found.labels:,}",
        style="bold",
    )  # fmt: skip
    lines = [
        f"both right {found.both_right:,} · only {names[0]} {found.only_first:,} · only {names[1]} "
        f"{found.only_second:,} · neither {found.neither:,}",
        f"McNemar's exact test: p = {found.p_value:.3g}. They decide the same on "
        f"{format_value(found.same_decision.value, 'share')} of {found.same_decision.n:,} labels.",
    ]
    return Group(table, *(plain(line) for line in lines), *_flips(names, found))


def _flips(names: tuple[str, str], found: JudgeComparison) -> Iterator[RenderableType]:
    if not found.flips:
        return
    table = _table("label", "people", *names, "right")
    for flip in found.flips[:_FLIPS_SHOWN]:
        table.add_row(
            plain(flip.id), flip.human, flip.first, flip.second, plain(names[0] if flip.right == "first" else names[1])
        )  # fmt: skip
    yield table
    if len(found.flips) > _FLIPS_SHOWN:
        yield plain(f"{_FLIPS_SHOWN} of {len(found.flips):,} labels on which only one judge is right; --json has all.")


def _figures(found: Measurement) -> Table:
    table = _table("", "", _level(found.confidence), "of")
    _add_rows(table, found.figures, ("people", "length", "calibration"))
    for member in found.judges:
        if len(found.judges) > 1:
            table.add_section()
            table.add_row(Text.assemble("member ", plain(member.name)), "", "", f"{member.labels:,}", style="bold")
        _add_rows(table, member.figures, ("position", "calibration", "verdicts", "cost"), member.spent.currency)
    return table


def _add_rows(
    table: Table, figures: Mapping[str, Estimate], parts: Sequence[Part], currency: str | None = None
) -> None:
    for part in parts:
        # Outcomes that never happened would fill the terminal with rows of zeros; report.json has them.
        rows = [row for row in figure_rows(figures, part, currency) if row.name not in _RARE or figures[row.name].value]
        if rows:
            table.add_section()
            table.add_row(Text(_TITLES[part], style="bold"))
        for row in rows:
            table.add_row(row.title, row.value, row.interval, row.n)


def _attacks(attacks: Sequence[AttackMeasurement]) -> RenderableType:
    if not any(attack.flipped.n or attack.failed for attack in attacks):
        return plain("No verdict is right, so there was nothing to attack.")
    table = _table("attack in the rejected answer", "flips", "", "undoes", "of")
    for attack in attacks:
        table.add_row(
            plain(attack.name), format_value(attack.flipped.value, "share"), format_interval(attack.flipped, "share"),
            format_value(attack.undone.value, "share"), f"{attack.flipped.n:,}",
        )  # fmt: skip
    return table


def _table(*columns: str) -> Table:
    return plain_table(columns, range(1, len(columns)))


def _level(confidence: float) -> str:
    return f"{100 * confidence:g}% interval"


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:+.1f}%"


def _signed_interval(estimate: Estimate) -> str:
    return "" if estimate.low is None else f"[{_signed(estimate.low)}, {_signed(estimate.high)}]"
