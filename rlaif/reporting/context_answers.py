"""A policy's answers with contexts of several kinds: one table, and the same as JSON values."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType

from rlaif.evaluation.by_context import GOLD, MEASURES, ContextFigures, ContextKind
from rlaif.reporting.figure_text import DASH, count, figure, span
from rlaif.reporting.terminal import plain, plain_table
from rlaif.stats.bootstrap import Estimate, interval_json

_TITLES = {"score": "score", "f1": "token F1", "contained": "contained", "refused": "refused"}


def context_name(kind: ContextKind) -> str:
    """Return what a table calls a kind of context, such as `bm25, own document`."""
    if kind.searcher is None:
        return "gold evidence"
    return f"{kind.searcher}, {'own document' if kind.contexts == 'document' else 'all documents'}"


def answers_table(found: Mapping[ContextKind, ContextFigures], name: str) -> RenderableType:
    """Return one table: a row for each measure and kind of context, with its mean and its difference to gold evidence.

    Args:
        name: of the policy that answered.
    """
    table = plain_table(["answers", "questions", "context", "mean", "less gold"], [1, 3, 4])
    for measure in MEASURES:
        cells = [_TITLES[measure], f"{found[GOLD].questions:,}"]
        for kind, each in found.items():
            difference = each.differences.get(measure)
            less = DASH if difference is None else _span(difference, signed=True)
            table.add_row(*map(plain, [*cells, context_name(kind), _span(each.figures[measure]), less]))
            cells = ["", ""]
    lines = [
        f"{context_name(kind)}: {count(len(each.failed), 'question')} not answered, which counts as wrong, such as "
        f"{next(iter(each.failed))}: {next(iter(each.failed.values()))}"
        for kind, each in found.items()
        if each.failed
    ]
    return Group(
        table, plain("\n".join([*lines, f"answered by {name}; 95% intervals, differences paired by question"]))
    )


def answers_json(found: Mapping[ContextKind, ContextFigures], name: str) -> dict[str, Any]:
    """Return the same figures as JSON values."""
    return {
        "policy": name,
        "contexts": [
            {
                "contexts": kind.contexts,
                "searcher": kind.searcher,
                "questions": each.questions,
                "figures": {measure: interval_json(found_) for measure, found_ in each.figures.items()},
                "less_gold": {measure: interval_json(found_) for measure, found_ in each.differences.items()},
                "failed": dict(each.failed),
            }
            for kind, each in found.items()
        ],
    }


def _span(found: Estimate, signed: bool = False) -> str:
    """Return a figure with its interval; one without width, which would claim certainty, is left out."""
    return figure(found.value, 2, signed) if found.low == found.high else span(found, 2, signed)
