"""`report.html` of a judge: its figures, what they mean, and its worst disagreements to read, on one page.

Invariant: the page needs no network and no script; the template escapes every value, and only the plots, which escape
their own, are put in as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from rlaif.judge_evals.measurement import SpeakerMeasurement, worst_disagreements
from rlaif.judge_evals.outcomes import Judged
from rlaif.judge_evals.report import JudgeReport
from rlaif.judges.verdict import Verdict
from rlaif.reporting.figure_text import count, moment, short_id
from rlaif.reporting.html import page_environment
from rlaif.reporting.judge import charts
from rlaif.reporting.judge.figures import FIGURES, FigureText, Part, interval, written
from rlaif.reporting.judge.terminal import headline
from rlaif.stats.bootstrap import Estimate

CONTEXT_SHOWN = 6000


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A figure as the page's tables show it."""

    text: FigureText
    value: str
    interval: str
    n: int


@dataclass(frozen=True, slots=True)
class SpeakerSection:
    """One judge that spoke, with its tables and its plot."""

    speaker: SpeakerMeasurement
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
    environment.globals.update(count=count, moment=moment, short_id=short_id, written=written, interval=interval)
    return environment.get_template("page.html.j2").render(
        report=report,
        found=found,
        headline=lines[0],
        remarks=lines[1:],
        people=_rows(found.figures, "people"),
        length=_rows(found.figures, "length"),
        calibration=_rows(found.figures, "calibration"),
        reliability=charts.reliability_chart(found.bins),
        speakers=[_section(speaker) for speaker in found.speakers],
        accuracy_chart=charts.accuracy_chart(found.figures),
        position_chart=charts.position_chart(found.speakers),
        order_legend=charts.ORDER_LEGEND,
        length_chart=charts.length_chart(found.lengths),
        length_legend=charts.LENGTH_LEGEND,
        worst=worst_disagreements(report.judged),
        unread=_unread(report.judged),
        said=said,
        context_shown=CONTEXT_SHOWN,
        judges=_flat(report.judge),
    )


def said(verdict: Verdict) -> str:
    """Return what a verdict says, in words: what was shown first, its status, and its preference or score."""
    if verdict.second is None:
        about = f"answer_{'ab'[verdict.first]} alone"
        return f"{about}: {verdict.status if verdict.score is None else f'score {verdict.score:g}'}"
    about = f"answer_{'a' if verdict.order == 'ab' else 'b'} first"
    if verdict.preference is None:
        return f"{about}: {verdict.status}"
    sure = max(verdict.preference, 1.0 - verdict.preference)
    return f"{about}: answer_{'a' if verdict.preference > 0.5 else 'b'}, {100 * sure:.0f}%"


def _rows(figures: Mapping[str, Estimate], part: Part, currency: str | None = None) -> list[FigureRow]:
    return [
        FigureRow(
            text,
            written(figures[name].value, text.unit, currency),
            interval(figures[name], text.unit),
            figures[name].n,
        )
        for name, text in FIGURES.items()
        if text.part == part and name in figures
    ]


def _section(speaker: SpeakerMeasurement) -> SpeakerSection:
    parts: tuple[Part, ...] = ("position", "verdicts", "calibration", "cost")
    position, verdicts, calibration, cost = (_rows(speaker.figures, part, speaker.spent.currency) for part in parts)
    return SpeakerSection(speaker, position, verdicts, calibration, cost, charts.reliability_chart(speaker.bins))


def _unread(judged: Sequence[Judged], kept: int = 10) -> list[Verdict]:
    """Return a few of the verdicts that were no answer."""
    unread = [verdict for item in judged for verdict in item.verdicts if verdict.status in ("unparsed", "error")]
    return unread[:kept]


def _flat(judge: Mapping[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Return a judge and its members, each with its plain facts and how deep it stands."""
    facts = {name: value for name, value in judge.items() if name not in ("members", "name", "kind", "sha")}
    head = {"name": judge["name"], "kind": judge["kind"], "sha": judge["sha"], "facts": facts, "depth": depth}
    return [head, *(entry for member in judge.get("members") or [] for entry in _flat(member, depth + 1))]
