"""One ranking out of several: reciprocal rank fusion (Cormack, Clarke & Buettcher 2009, SIGIR, pages 758-759).

Invariant: only ranks count, so scores of different scales need no weights.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rlaif.documents.bm25 import Floats

RANK_OFFSET = 60
"""The constant k of the paper: how little the first ranks stand out."""


def fused(rankings: Sequence[NDArray[np.int64]], count: int) -> Floats:
    """Return the fused score of each item, (count,): the sum of 1 / (60 + rank) over the rankings; -inf in none.

    Args:
        rankings: numbers of items, best first.
        count: number of items.
    """
    scores = np.zeros(count, np.float32)
    for numbers in rankings:
        scores[numbers] += (1 / (RANK_OFFSET + np.arange(1, len(numbers) + 1))).astype(np.float32)
    return np.where(scores > 0, scores, -np.inf).astype(np.float32)
