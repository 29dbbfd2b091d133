"""The files of a judge report: `report.json`, `verdicts.parquet`, and `report.html` with its figures on one page.

Invariant: the page needs no network and no script; the template escapes every value except the plots, which escape
their own. It is written last.
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from rlaif.data.gold_answer import shown_gold_answer
from rlaif.errors import UserError, is_disk_full
from rlaif.io.files import join, write_bytes, write_json
from rlaif.judge_evals.judge_report import JudgeReport, report_json, worst_disagreements
from rlaif.prompts.question_prompt import shown_question
from rlaif.reporting.html import CONTEXT_SHOWN, page_environment
from rlaif.reporting.judge import charts
from rlaif.reporting.judge.figure_text import figure_rows, format_interval, format_value, headline
from rlaif.reporting.judge.terminal import verdict_text
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import write_table

_UNREAD_SHOWN = 10


def write_report(report: JudgeReport, folder: str) -> str:
    """Write a report's files to a folder, a path or URL that is made if it does not exist; return the page's path.

    Raises:
        UserError: the folder cannot be written to.
    """
    page = join(folder, "report.html")
    rows = [asdict(verdict) for item in report.judged for verdict in item.verdicts]
    try:
        write_json(join(folder, "report.json"), report_json(report))
        write_table(join(folder, "verdicts.parquet"), pa.Table.from_pylist(rows, schema=VERDICTS))
        write_bytes(page, render_page(report).encode("utf-8", errors="replace"))
    except OSError as error:
        if is_disk_full(error):
            raise
        reason = error.strerror or error
        raise UserError(f"{folder}: cannot be written to: {reason}; choose another folder with --out") from None
    return page


def render_page(report: JudgeReport) -> str:
    """Return a judge's report as HTML."""
    lines = headline(report.name, report.measurement)
    verdicts = [verdict for item in report.judged for verdict in item.verdicts]
    unread = [verdict for verdict in verdicts if verdict.status in ("unparsed", "error")]
    return (
        page_environment(Path(__file__).parent)
        .get_template("page.html.j2")
        .render(
            charts=charts,
            figure_rows=figure_rows,
            format_value=format_value,
            format_interval=format_interval,
            verdict_text=verdict_text,
            shown_gold_answer=shown_gold_answer,
            shown_question=shown_question,
            report=report,
            found=report.measurement,
            headline=lines[0],
            remarks=lines[1:],
            worst=worst_disagreements(report.judged),
            unread=unread[:_UNREAD_SHOWN],
            context_shown=CONTEXT_SHOWN,
            judges=_with_members(report.judge),
        )
    )


def _with_members(judge: Mapping[str, Any], depth: int = 0) -> list[dict[str, Any]]:
    """Return a judge and its members, each with its plain facts and its depth in the panel."""
    facts = {name: value for name, value in judge.items() if name not in ("members", "name", "kind", "sha")}
    entry = {"name": judge["name"], "kind": judge["kind"], "sha": judge["sha"], "facts": facts, "depth": depth}
    return [entry, *(found for member in judge.get("members") or [] for found in _with_members(member, depth + 1))]
