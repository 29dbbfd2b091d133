"""How well a searcher finds the evidence of questions: hit, recall and page hit among the first k chunks.

- hit@k: the share of questions for which one of their chunks is among the first k;
- recall@k: the share of a question's chunks that are among the first k, the mean over questions;
- page hit@k: the share of questions for which a chunk of one of their pages is among the first k.

Invariant: a question whose chunks are not known counts for its page alone, and all searchers answer the same questions.
"""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.documents.index import Hit
from rlaif.progress import Progress
from rlaif.retrieval.corpus import Corpus, Truth
from rlaif.retrieval.evidence_questions import EvidenceQuestion
from rlaif.retrieval.search import Searcher
from rlaif.stats.bootstrap import Estimate, Figure, estimates, ratio

MEASURES = ("hit", "recall", "page hit")


@dataclass(frozen=True, slots=True)
class Found:
    """What one search found of one question.

    Attributes:
        chunk_ranks: ranks, from 1, of the question's chunks among the hits.
        chunks: number of the question's chunks; 0 where they are not known.
        page_rank: of the first hit on one of the question's pages; None without one.
    """

    chunk_ranks: tuple[int, ...]
    chunks: int
    page_rank: int | None


@dataclass(frozen=True, slots=True)
class KindFigures:
    """The figures of one searcher on one kind of question.

    Attributes:
        kind: None for all questions together.
        questions: number of them.
        figures: by name, such as `hit@5`.
    """

    kind: str | None
    questions: int
    figures: Mapping[str, Estimate]


def found(hits: Sequence[Hit], truth: Truth) -> Found:
    """Return what the hits of a search, best first, have of a question's evidence."""
    on_page = (hit.rank for hit in hits if hit.chunk.document == truth.document and hit.chunk.page in truth.pages)
    ranks = tuple(hit.rank for hit in hits if hit.chunk.id in truth.chunks)
    return Found(ranks, len(truth.chunks), next(on_page, None))


def measure_searcher(
    searcher: Searcher,
    questions: Sequence[EvidenceQuestion],
    corpus: Corpus,
    k: int,
    *,
    own_document: bool,
    progress: Progress,
) -> tuple[list[Found], float]:
    """Search for each question; return what was found of its evidence, and the median search in milliseconds.

    Args:
        questions: that have a truth in the corpus.
        k: hits of each search.
        own_document: whether the question's own document alone is searched.
    """
    results: list[Found] = []
    times: list[float] = []
    for question in questions:
        truth = corpus.truths[question.id]
        began = time.perf_counter()
        hits = searcher.search(question.question, k, truth.document if own_document else None)
        times.append(1000 * (time.perf_counter() - began))
        results.append(found(hits, truth))
        progress.advance()
    return results, statistics.median(times)


def figures_by_kind(
    results: Sequence[Found], kinds: Sequence[str | None], ks: Sequence[int], seed: int = 0
) -> list[KindFigures]:
    """Return the figures of one searcher, over all questions and then by kind, with bootstrap intervals.

    Args:
        results: of each question.
        kinds: of each question, in the same order.
        ks: numbers of hits that are looked at.
    """
    groups: dict[str | None, list[Found]] = {None: list(results)}
    for result, kind in zip(results, kinds, strict=True):
        if kind is not None:
            groups.setdefault(kind, []).append(result)
    named = [f"{measure}@{k}" for measure in MEASURES for k in ks]
    shown = []
    for kind, group in groups.items():
        figures = [_figure(group, measure, k) for measure in MEASURES for k in ks]
        estimated = estimates(figures, range(len(group)), seed=seed)
        shown.append(KindFigures(kind, len(group), dict(zip(named, estimated, strict=True))))
    return shown


def _figure(group: Sequence[Found], measure: str, k: int) -> Figure:
    if measure == "page hit":
        return ratio([float(each.page_rank is not None and each.page_rank <= k) for each in group], np.ones(len(group)))
    within = [sum(rank <= k for rank in each.chunk_ranks) for each in group]
    known = [float(each.chunks > 0) for each in group]
    if measure == "hit":
        return ratio([float(count > 0) for count in within], known)
    shares = [count / each.chunks if each.chunks else 0.0 for count, each in zip(within, group, strict=True)]
    return ratio(shares, known)
