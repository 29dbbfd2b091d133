"""Judge files, single judgments, judge reports and comparisons in a terminal of eighty columns.

Invariant: text from a judge, a model or a label file is printed as plain text, as in `rlaif.reporting.terminal`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlaif.judge_evals.attacks import AttackMeasurement
from rlaif.judge_evals.comparison import JudgeComparison
from rlaif.judge_evals.figures import Part
from rlaif.judge_evals.judge_report import JudgeReport, Measurement
from rlaif.judge_evals.judging import OUTCOMES, JudgedLabel
from rlaif.judge_evals.routing import Routing
from rlaif.judges.judge import Verdict
from rlaif.judges.uncertainty import REASONS
from rlaif.reporting.figure_text import DASH, marks_text
from rlaif.reporting.judge.figure_text import figure_rows, format_interval, format_value, headline
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
_RARE = (*OUTCOMES[1:], *(f"verdict_{status}" for status in OUTCOMES[1:]))
_FLIPS_SHOWN = 20


def judges_table(judges: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a row for each judge, and the faults of files that cannot be read.

    Args:
        judges: of each, `JudgeSpec.describe` with `own`, whether its file is in `./judges`; or its `name` and `fault`.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    mixed = len({judge["own"] for judge in judges}) > 1
    for column in ("judge", "kind", "model", "sha256", *(["from"] if mixed else [])):
        table.add_column(column, overflow="fold", no_wrap=column not in ("kind", "model"))
    for judge in judges:
        if "fault" not in judge:
            cells = [judge["name"], _kind(judge), judge.get("model") or DASH, str(judge["sha"])[:8]]
            cells += ["./judges" if judge["own"] else "installed"] if mixed else []
            table.add_row(*map(plain, cells))
    return Group(table, *(plain(judge["fault"]) for judge in judges if "fault" in judge))


def _kind(judge: Mapping[str, Any]) -> str:
    """Return a judge's kind, with its members, or with its prompt if that has another name."""
    members = ", ".join(str(member["name"]) for member in judge.get("members") or [])
    prompt = judge.get("prompt")
    more = members or (prompt if prompt != judge["name"] else None)
    return f"{judge['kind']}: {more}" if more else str(judge["kind"])


def judged_view(judged: JudgedLabel) -> RenderableType:
    """Return all verdicts on one question, each with its text, and the decision."""
    parts: list[str] = []
    for verdict in judged.verdicts:
        cost = f"{verdict.prompt_tokens}+{verdict.completion_tokens} tokens, {verdict.seconds:.2f} s"
        parts += [f"{verdict.judge}, {verdict_text(verdict)} ({cost})", f"  {verdict.text or '(nothing)'}"]
    decision = judged.decision
    if decision is None:
        why = "cannot tell" if judged.verdicts else "does not apply to this question"
        parts.append(f"decision: none; the judge {why}")
    elif decision.preference is None:
        parts.append(f"decision: {decision.status}")
    else:
        side = "a" if decision.preference > 0.5 else "b"
        parts.append(f"decision: answer_{side}, margin {decision.margin or 0.0:.3f}, by {decision.judge}")
    return Group(*map(plain, parts))


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict in words: the answer shown first, its status, and its preference or score."""
    if verdict.second is None:
        about = f"answer_{'ab'[verdict.first]} alone"
        marks = f" from {marks_text(verdict.marks)}" if verdict.marks else ""
        return f"{about}: {verdict.status if verdict.score is None else f'score {verdict.score:g}'}{marks}"
    about = f"answer_{'a' if verdict.order == 'ab' else 'b'} first"
    if verdict.preference is None:
        return f"{about}: {verdict.status}"
    sure = max(verdict.preference, 1.0 - verdict.preference)
    return f"{about}: answer_{'a' if verdict.preference > 0.5 else 'b'}, {100 * sure:.0f}%"


def report_view(report: JudgeReport) -> RenderableType:
    """Return a report's figures and its headline."""
    found = report.measurement
    attacks = [] if report.attacks is None else [_attacks(report.attacks)]
    return Group(_figures(found), *attacks, *map(plain, headline(report.name, found)))


def comparison_view(names: tuple[str, str], found: JudgeComparison) -> RenderableType:
    """Return two judges' accuracies, their difference, and the labels on which only one is right."""
    table = _table("judge", "accuracy", _level(0.95), "labels")
    for name, accuracy in zip(names, (found.first, found.second), strict=True):
        table.add_row(plain(name), *_share(accuracy), f"{accuracy.n:,}")
    change = found.difference
    interval = "" if change.low is None else f"[{_signed(change.low)}, {_signed(change.high)}]"
    table.add_row("second − first", _signed(change.value), interval, f"{found.labels:,}", style="bold")
    lines = [
        f"both right {found.both_right:,} · only {names[0]} {found.only_first:,} · only {names[1]} "
        f"{found.only_second:,} · neither {found.neither:,}",
        f"McNemar's exact test: p = {found.p_value:.3g}. They decide the same on "
        f"{format_value(found.same_decision.value, 'share')} of {found.same_decision.n:,} labels.",
        *(f"{name}: {errors.note}" for name, errors in zip(names, found.errors, strict=True) if errors.note),
    ]
    return Group(table, *map(plain, lines), *_flips(names, found))


def routing_view(name: str, found: Routing) -> RenderableType:
    """Return the agreement with people by the share of comparisons that they decide, beside asking at random."""
    table = plain_table(("asked", "by worth", _level(0.95), "at random", *REASONS), range(4 + len(REASONS)))
    for point in found.points:
        asked = [f"{point.asked.get(reason, 0):,}" for reason in REASONS]
        random = format_value(point.at_random.value, "share")
        table.add_row(f"{100 * point.share:.3g}%", *_share(point.by_worth), random, *asked)
    line = (
        f"{name}: agreement with people on {found.preferred:,} labels of {found.questions:,} questions, where people "
        "decide the comparisons that their answer is worth most on, and where as many are drawn at random."
    )
    return Group(table, plain(line))


def _flips(names: tuple[str, str], found: JudgeComparison) -> Iterator[RenderableType]:
    if not found.flips:
        return
    table = _table("label", "people", *names, "right")
    for flip in found.flips[:_FLIPS_SHOWN]:
        right = names[0] if flip.right == "first" else names[1]
        table.add_row(plain(flip.id), flip.human, flip.first, flip.second, plain(right))
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
        undone = format_value(attack.undone.value, "share")
        table.add_row(plain(attack.name), *_share(attack.flipped), undone, f"{attack.flipped.n:,}")
    return table


def _table(*columns: str) -> Table:
    return plain_table(columns, range(1, len(columns)))


def _level(confidence: float) -> str:
    return f"{100 * confidence:g}% interval"


def _share(found: Estimate) -> tuple[str, str]:
    return format_value(found.value, "share"), format_interval(found, "share")


def _signed(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:+.1f}%"
