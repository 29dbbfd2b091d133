"""`report.html` of a judge: its figures with their meanings, and its worst disagreements, on one page.

Invariant: the page needs no network and no script; the template escapes every value except the plots, which escape
their own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlaif.judge_evals.judge_report import JudgeReport, worst_disagreements
from rlaif.judge_evals.judging import JudgedLabel
from rlaif.judges.judge import Verdict
from rlaif.reporting.figure_text import count, moment, short_id
from rlaif.reporting.html import page_environment
from rlaif.reporting.judge import charts
from rlaif.reporting.judge.figure_rows import figure_rows, format_interval, format_value
from rlaif.reporting.judge.headline import headline

_CONTEXT_SHOWN = 6000
_UNREAD_SHOWN = 10


def render_page(report: JudgeReport) -> str:
    """Return a judge's report as HTML."""
    found = report.measurement
    lines = headline(report.name, found)
    environment = page_environment(Path(__file__).parent)
    environment.globals.update(
        charts=charts, count=count, moment=moment, short_id=short_id, figure_rows=figure_rows,
        format_value=format_value, format_interval=format_interval, verdict_text=verdict_text,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        report=report,
        found=found,
        headline=lines[0],
        remarks=lines[1:],
        worst=worst_disagreements(report.judged),
        unread=_unread(report.judged),
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


def _unread(judged: Sequence[JudgedLabel]) -> list[Verdict]:
    """Return some of the unreadable and failed verdicts."""
    unread = [verdict for item in judged for verdict in item.verdicts if verdict.status in ("unparsed", "error")]
    return unread[:_UNREAD_SHOWN]


def _with_members(judge: Mapping[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Return a judge and its members, each with its plain facts and its depth in the panel."""
    facts = {name: value for name, value in judge.items() if name not in ("members", "name", "kind", "sha")}
    entry = {"name": judge["name"], "kind": judge["kind"], "sha": judge["sha"], "facts": facts, "depth": depth}
    return [entry, *(found for member in judge.get("members") or [] for found in _with_members(member, depth + 1))]
