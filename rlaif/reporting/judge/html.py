"""`report.html` of a judge: its figures with their meanings, and its worst disagreements, on one page.

Invariant: the page needs no network and no script; the template escapes every value except the plots, which escape
their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlaif.judge_evals.judge_report import JudgeReport
from rlaif.judge_evals.judged_labels import JudgedLabel
from rlaif.judge_evals.measurement import MemberMeasurement, worst_disagreements
from rlaif.judges.verdict import Verdict
from rlaif.reporting.figure_text import count, moment, short_id
from rlaif.reporting.html import page_environment
from rlaif.reporting.judge import charts
from rlaif.reporting.judge.figure_rows import FigureRow, figure_rows, format_interval, format_value
from rlaif.reporting.judge.headline import headline

_CONTEXT_SHOWN = 6000
_UNREAD_SHOWN = 10


@dataclass(frozen=True, slots=True)
class MemberSection:
    """One judge with verdicts: its tables and its plot."""

    member: MemberMeasurement
    position: list[FigureRow]
    verdicts: list[FigureRow]
    calibration: list[FigureRow]
    cost: list[FigureRow]
    reliability: Markup | None


def render_page(report: JudgeReport) -> str:
    """Return a judge's report as HTML."""
    found = report.measurement
    lines = headline(report.name, found)
    environment = page_environment(Path(__file__).parent)
    environment.globals.update(
        count=count, moment=moment, short_id=short_id, format_value=format_value, format_interval=format_interval
    )
    return environment.get_template("page.html.j2").render(
        report=report,
        found=found,
        headline=lines[0],
        remarks=lines[1:],
        people=figure_rows(found.figures, "people"),
        length=figure_rows(found.figures, "length"),
        calibration=figure_rows(found.figures, "calibration"),
        reliability=charts.reliability_chart(found.bins),
        members=[_section(member) for member in found.members],
        accuracy_chart=charts.accuracy_chart(found.figures),
        position_chart=charts.position_chart(found.members),
        order_legend=charts.ORDER_LEGEND,
        length_chart=charts.length_chart(found.lengths),
        length_legend=charts.LENGTH_LEGEND,
        worst=worst_disagreements(report.judged),
        unread=_unread(report.judged),
        verdict_text=verdict_text,
        context_shown=_CONTEXT_SHOWN,
        judges=_with_members(report.judge),
    )


def verdict_text(verdict: Verdict) -> str:
    """Return a verdict in words: the answer shown first, its status, and its preference or score."""
    if verdict.second is None:
        about = f"answer_{'ab'[verdict.first]} alone"
        return f"{about}: {verdict.status if verdict.score is None else f'score {verdict.score:g}'}"
    about = f"answer_{'a' if verdict.order == 'ab' else 'b'} first"
    if verdict.preference is None:
        return f"{about}: {verdict.status}"
    sure = max(verdict.preference, 1.0 - verdict.preference)
    return f"{about}: answer_{'a' if verdict.preference > 0.5 else 'b'}, {100 * sure:.0f}%"


def _section(member: MemberMeasurement) -> MemberSection:
    position, verdicts, calibration, cost = (
        figure_rows(member.figures, part, member.spent.currency)
        for part in ("position", "verdicts", "calibration", "cost")
    )
    return MemberSection(member, position, verdicts, calibration, cost, charts.reliability_chart(member.bins))


def _unread(judged: Sequence[JudgedLabel]) -> list[Verdict]:
    """Return some of the unreadable and failed verdicts."""
    unread = [verdict for item in judged for verdict in item.verdicts if verdict.status in ("unparsed", "error")]
    return unread[:_UNREAD_SHOWN]


def _with_members(judge: Mapping[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Return a judge and its members, each with its plain facts and its depth in the panel."""
    facts = {name: value for name, value in judge.items() if name not in ("members", "name", "kind", "sha")}
    entry = {"name": judge["name"], "kind": judge["kind"], "sha": judge["sha"], "facts": facts, "depth": depth}
    return [entry, *(found for member in judge.get("members") or [] for found in _with_members(member, depth + 1))]
