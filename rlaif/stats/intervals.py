"""Bootstrap intervals of what is measured on held-out questions.

Invariant: the same values, confidence and seed give the same interval, and no result is NaN. With one value the
percentile bootstrap has nothing to resample: both ends are that value, and `n` tells how little it is worth.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CELLS_AT_ONCE = 1 << 22
"""Resampled values held in memory at once, so that many values take more time but no more memory."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean and its interval; all three None where there are no values (`n` is 0).

    Attributes:
        mean: of the values themselves, not of the resamples.
        low, high: ends of the interval.
        n: values.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean and its percentile bootstrap interval (Efron 1979, Annals of Statistics 7(1)).

    Args:
        values: finite numbers, one for each question.
        confidence: level of the interval, in (0, 1).
        seed: of the resampling.

    Raises:
        ValueError: a value is not finite, or the level is not in (0, 1).
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: expected a level between 0 and 1")
    sample = np.asarray(values, dtype=np.float64)
    if not np.isfinite(sample).all():
        raise ValueError("values of an interval must be finite")
    n = sample.size
    if n == 0:
        return Interval(None, None, None, 0)
    mean = float(sample.mean())
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(_resampled_means(sample, seed), [tail, 1.0 - tail])
    return Interval(mean, float(low), float(high), n)


def paired_difference(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the mean of new - old over the same questions, with its interval.

    Pairing takes the questions' own difficulty out, so the interval is narrower than that of two separate means.

    Args:
        new, old: values of the same questions in the same order.
        confidence, seed: as in `mean_interval`.

    Raises:
        ValueError: as in `mean_interval`, or the two are not of one length.
    """
    return mean_interval([a - b for a, b in zip(new, old, strict=True)], confidence, seed)


def win_rate(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Interval:
    """Return the share of questions on which new scores above old, ties counting half, with its interval.

    Args, errors: as in `paired_difference`.
    """
    wins = [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(new, old, strict=True)]
    return mean_interval(wins, confidence, seed)


def _resampled_means(sample: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Return the means of RESAMPLES samples drawn with replacement, each as large as the sample."""
    draw = np.random.default_rng(seed)
    rows = max(1, _CELLS_AT_ONCE // sample.size)
    parts = [
        sample[draw.integers(0, sample.size, (min(rows, RESAMPLES - start), sample.size))].mean(axis=1)
        for start in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(parts)
