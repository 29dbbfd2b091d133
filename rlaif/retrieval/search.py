"""The one way to search documents: BM25, an encoder, or both fused; then a reranker, if there is one.

Invariant: hits are of the document that was asked for, best first, each chunk once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from rlaif.documents.bm25 import Floats
from rlaif.documents.document import Chunk
from rlaif.documents.index import Hit, Index, best
from rlaif.retrieval.fusion import fused
from rlaif.retrieval.vectors import Vectors

__all__ = ["Hit", "Reranker", "Searcher"]

Method = Literal["bm25", "encoder", "bm25+encoder"]
FUSED_DEPTH = 100
"""Chunks of each ranking that fusion sees."""
RERANK_DEPTH = 50
"""Chunks that a reranker sees, unless more are asked for."""


class Reranker(Protocol):
    """Scores chunks by a query, with the query and the chunk in view at once."""

    def scores(self, query: str, chunks: Sequence[Chunk]) -> list[float | None]:
        """Return a score for each chunk, higher for better; None where it could not score one."""
        ...


@dataclass(frozen=True, slots=True)
class Searcher:
    """Searches an index.

    Attributes:
        method: how chunks are found.
        vectors: those of the index, for a method with an encoder.
        reranker: scores the chunks that were found anew.

    Raises:
        ValueError: the method has an encoder and there are no vectors.
    """

    index: Index
    method: Method = "bm25"
    vectors: Vectors | None = None
    reranker: Reranker | None = None

    def __post_init__(self) -> None:
        if self.method != "bm25" and self.vectors is None:
            raise ValueError(f"{self.method} needs the vectors of an encoder")

    def search(self, query: str, k: int, document: str | None = None) -> list[Hit]:
        """Return the best chunks of a document, or of all, at most `k`.

        With a reranker, a hit's score is the reranker's; a chunk that it could not score has none and comes after
        the others, in their former order.

        Raises:
            UserError: no chunk is of the document.
        """
        depth = k if self.reranker is None else max(k, RERANK_DEPTH)
        hits = self.index.hits(*best(self._scores(query, document, depth), depth))
        return hits if self.reranker is None else _reranked(self.reranker, query, hits)[:k]

    def _scores(self, query: str, document: str | None, depth: int) -> Floats:
        """Return the score of each chunk, (chunks,); -inf of one that is not found."""
        scores: list[Floats] = []
        if self.method != "encoder":
            scores.append(self.index.scores(query))
        if self.method != "bm25" and self.vectors is not None:
            scores.append(self.vectors.scores(query))
        if document is not None:
            within = self.index.of_document(document)
            scores = [np.where(within, each, -np.inf).astype(np.float32) for each in scores]
        if len(scores) == 1:
            return scores[0]
        return fused([best(each, max(depth, FUSED_DEPTH))[0] for each in scores], len(self.index))


def _reranked(reranker: Reranker, query: str, hits: Sequence[Hit]) -> list[Hit]:
    scored = list(zip(reranker.scores(query, [hit.chunk for hit in hits]), hits, strict=True))
    known = [(score, hit) for score, hit in scored if score is not None]
    order: list[tuple[float | None, Hit]] = [
        *sorted(known, key=lambda pair: -pair[0]),
        *(pair for pair in scored if pair[0] is None),
    ]
    return [Hit(hit.chunk, score, rank) for rank, (score, hit) in enumerate(order, start=1)]
