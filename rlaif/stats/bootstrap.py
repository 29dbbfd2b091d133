"""Percentile bootstrap intervals of any figure that is a function of sums over items.

Invariant: the same data, level and seed give the same interval; an undefined figure (a share of nothing) is None, never
zero or NaN. Items of one cluster are resampled together: labels of one question share its difficulty, and resampling
them apart would make the interval too narrow (Miller 2024, arXiv:2411.00640).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CELLS_AT_ONCE = 1 << 22
"""Draws held in memory at once, which bounds memory for any number of items."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: of the items themselves; None where it is undefined.
        low, high: ends of the interval; None where the value is, and for a figure that is not resampled.
        n: number of items, verdicts or tokens that the figure counts over.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure as sums over items and a function of them.

    Attributes:
        columns: each item's contributions, (items, columns).
        statistic: maps sums of the columns, (rows, columns), to the figure, (rows,); NaN where it is undefined.
        n: see `Estimate`.
    """

    columns: Floats
    statistic: Callable[[Floats], Floats]
    n: int


Estimator = Callable[[Sequence[Figure]], list[Estimate]]
"""`estimates` with its clusters, level and seed bound."""


def ratio(numerator: Sequence[float] | Floats, denominator: Sequence[float] | Floats) -> Figure:
    """Return the figure that divides one sum over items by another; `n` is the denominator's sum."""
    columns = np.column_stack([np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)])
    return Figure(columns, lambda sums: divide(sums[:, 0], sums[:, 1]), round(float(columns[:, 1].sum())))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def estimates(
    figures: Sequence[Figure],
    clusters: Sequence[Hashable],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    with_observed: bool = True,
) -> list[Estimate]:
    """Return figures with their percentile bootstrap intervals (Efron 1979, Annals of Statistics 7(1)).

    All figures share the same resamples. An interval leaves out the resamples in which its figure is undefined.

    Args:
        figures: all over the same items, in the same order.
        clusters: the cluster of each item; a resample draws whole clusters.
        confidence: level of the intervals, in (0, 1).
        with_observed: count the observed value as one more resample, so that a figure that few resamples define still
            has an interval.

    Raises:
        ValueError: the level is not in (0, 1), or a figure has another number of items.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: expected a level between 0 and 1")
    if not figures or not clusters:
        return [Estimate(None, None, None, 0) for _ in figures]
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    by_cluster = np.zeros((len(numbers), sum(figure.columns.shape[1] for figure in figures)))
    np.add.at(by_cluster, [numbers[cluster] for cluster in clusters], np.hstack([figure.columns for figure in figures]))
    ends = np.cumsum([figure.columns.shape[1] for figure in figures])[:-1]
    observed = np.split(by_cluster.sum(axis=0, keepdims=True), ends, axis=1)
    resampled = np.split(_resampled_sums(by_cluster, seed), ends, axis=1)
    found = []
    for figure, totals, sums in zip(figures, observed, resampled, strict=True):
        value = float(figure.statistic(totals)[0])
        if not np.isfinite(value):
            found.append(Estimate(None, None, None, figure.n))
            continue
        draws = figure.statistic(sums)
        draws = np.append(draws[np.isfinite(draws)], [value] * with_observed)
        tail = (1.0 - confidence) / 2.0
        low, high = np.quantile(draws, [tail, 1.0 - tail])
        found.append(Estimate(value, float(low), float(high), figure.n))
    return found


def _resampled_sums(by_cluster: Floats, seed: int) -> Floats:
    """Return the columns' sums in RESAMPLES draws, with replacement, of as many clusters as there are."""
    generator = np.random.default_rng(seed)
    count = len(by_cluster)
    rows = max(1, _CELLS_AT_ONCE // count)
    parts = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = generator.integers(0, count, (size, count))
        # Counting how often each resample draws each cluster makes a resample's sums one matrix product.
        counts = np.bincount((drawn + count * np.arange(size)[:, None]).ravel(), minlength=size * count)
        parts.append(counts.reshape(size, count).astype(np.float64) @ by_cluster)
    return np.concatenate(parts)


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of one finite value a question, with its interval; one value is its own interval.

    Raises:
        ValueError: a value is not finite, or the level is not in (0, 1).
    """
    if not np.isfinite(values).all():
        raise ValueError("values of an interval must be finite")
    mean = ratio(values, np.ones(len(values)))
    return estimates([mean], range(len(values)), confidence=confidence, seed=seed, with_observed=False)[0]


def paired_difference(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of new - old over the same questions in the same order, with its interval.

    Pairing removes the questions' own difficulty, so the interval is narrower than that of two separate means.
    """
    return mean_interval([a - b for a, b in zip(new, old, strict=True)], confidence, seed)


def win_rate(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the share of questions on which new scores above old, ties counting half, with its interval."""
    wins = [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(new, old, strict=True)]
    return mean_interval(wins, confidence, seed)


def interval_json(found: Estimate | None) -> dict[str, Any] | None:
    """Return an estimate as plain values: mean, low, high and n."""
    return None if found is None else {"mean": found.value, "low": found.low, "high": found.high, "n": found.n}
