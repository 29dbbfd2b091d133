"""Judge files and single judgments in the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table

from rlaif.judge_evals.judging import JudgedLabel
from rlaif.reporting.figure_text import DASH
from rlaif.reporting.judge.html import verdict_text
from rlaif.reporting.terminal import plain

_SHA = 8


def judges_table(judges: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Return a row for each judge, and the faults of files that cannot be read.

    Args:
        judges: of each, `JudgeSpec.describe` with `own`, whether its file is in `./judges`; or its `name` and `fault`.
    """
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0))
    mixed = len({judge["own"] for judge in judges}) > 1
    for column in ("judge", "kind", "model", "sha256", *(["from"] if mixed else [])):
        table.add_column(column, overflow="fold", no_wrap=column not in ("kind", "model"))
    faults = []
    for judge in judges:
        if "fault" in judge:
            faults.append(plain(judge["fault"]))
            continue
        cells = (judge["name"], _kind(judge), judge.get("model") or DASH, str(judge["sha"])[:_SHA])
        origin = ("./judges" if judge["own"] else "installed",) if mixed else ()
        table.add_row(*(plain(cell) for cell in (*cells, *origin)))
    return Group(table, *faults)


def _kind(judge: Mapping[str, Any]) -> str:
    """Return a judge's kind, with its members, or with its prompt if that has another name."""
    members = ", ".join(str(member["name"]) for member in judge.get("members") or [])
    prompt = judge.get("prompt")
    more = members or (prompt if prompt != judge["name"] else None)
    return f"{judge['kind']}: {more}" if more else str(judge["kind"])


def judged_view(judged: JudgedLabel) -> RenderableType:
    """Return all verdicts on one question, each with its text, and the decision."""
    parts: list[RenderableType] = []
    for verdict in judged.verdicts:
        cost = f"{verdict.prompt_tokens}+{verdict.completion_tokens} tokens, {verdict.seconds:.2f} s"
        parts += [
            plain(f"{verdict.judge}, {verdict_text(verdict)} ({cost})"),
            plain(f"  {verdict.text or '(nothing)'}"),
        ]
    decision = judged.decision
    if decision is None:
        parts.append(plain("decision: none; the judge does not apply to this question"))
    elif decision.preference is None:
        parts.append(plain(f"decision: {decision.status}"))
    else:
        side = "a" if decision.preference > 0.5 else "b"
        parts.append(plain(f"decision: answer_{side}, margin {decision.margin or 0.0:.3f}, by {decision.judge}"))
    return Group(*parts)
