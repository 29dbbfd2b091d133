"""Hits of a search, and figures of searchers, in the terminal.

Invariant: text of a document is printed as plain text, as in `rlaif.reporting.terminal`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType

from rlaif.documents.index import Hit
from rlaif.reporting.figure_text import count, figure, span
from rlaif.reporting.terminal import plain, plain_table
from rlaif.retrieval.recall import MEASURES, KindFigures
from rlaif.stats.bootstrap import Estimate, interval_json

_ALL = "all"


def hits_view(hits: Sequence[Hit]) -> RenderableType:
    """Return hits, best first, each with its place and its text."""
    if not hits:
        return plain("nothing was found")
    parts = []
    for hit in hits:
        score = "not scored" if hit.score is None else f"{hit.score:.3f}"
        chunk = hit.chunk
        place = f"{hit.rank}. {chunk.document}, page {chunk.page} ({score}) {chunk.id}"
        parts += [plain(place), plain(chunk.text), plain("")]
    return Group(*parts[:-1])


def hits_json(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Return hits as JSON values."""
    return [
        {"rank": hit.rank, "score": hit.score, "id": hit.chunk.id, "document": hit.chunk.document,
         "page": hit.chunk.page, "text": hit.chunk.text}
        for hit in hits
    ]  # fmt: skip


def searchers_table(
    found: Mapping[str, Sequence[KindFigures]], ks: Sequence[int], chunks: int, left_out: int
) -> RenderableType:
    """Return a table of each measure: a row for each kind of question and searcher, a column for each k.

    Args:
        found: of each searcher, all questions and then each kind.
        chunks: in the index.
        left_out: questions whose evidence was not found.
    """
    every = next(iter(found.values()))
    tables: list[RenderableType] = []
    for measure in MEASURES:
        table = plain_table([measure, "questions", "searcher", *(f"@{k}" for k in ks)], [1, *range(3, 3 + len(ks))])
        for row, kind in enumerate(every):
            cells = [kind.kind or _ALL, f"{kind.questions:,}"]
            for searcher, figures in found.items():
                spans = [_span(figures[row].figures[f"{measure}@{k}"]) for k in ks]
                table.add_row(*map(plain, [*cells, searcher, *spans]))
                cells = ["", ""]
        tables.append(table)
    missing = f"; {count(left_out, 'question')} left out" if left_out else ""
    return Group(
        *tables, plain(f"{count(every[0].questions, 'question')}, {count(chunks, 'chunk')}{missing}; 95% intervals")
    )


def searchers_json(found: Mapping[str, Sequence[KindFigures]]) -> list[dict[str, Any]]:
    """Return the figures of searchers as JSON values."""
    return [
        {
            "searcher": searcher,
            "kind": each.kind,
            "questions": each.questions,
            "figures": {name: interval_json(estimate) for name, estimate in each.figures.items()},
        }
        for searcher, kinds in found.items()
        for each in kinds
    ]


def _span(found: Estimate) -> str:
    """Return a figure with its interval; one without width, which would claim certainty, is left out."""
    return figure(found.value, 2) if found.low == found.high else span(found, 2)
