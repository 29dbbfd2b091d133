"""Percentile bootstrap intervals of any figure that is a function of sums over labels.

Invariant: the same data, level and seed give the same interval; what is undefined (a share of nothing) is None and
never zero or NaN. Labels of one question are drawn together: they share its difficulty, and drawing them apart would
make the interval narrower than the data allow (clustered, as Miller 2024, arXiv:2411.00640, asks of evaluations).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
_CELLS_AT_ONCE = 1 << 22
"""Draws held in memory at once, so that many labels take more time but no more memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval.

    Attributes:
        value: of the labels themselves; None where it is undefined.
        low, high: ends of the interval; None where the value is.
        n: what the figure counts over: labels, verdicts or tokens' verdicts, as its name says.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is made of.

    Attributes:
        columns: what each label adds, (labels, columns).
        statistic: sums of the columns, (rows, columns), to the figure, (rows,); NaN where it is undefined.
        n: see `Estimate`.
    """

    columns: Floats
    statistic: Callable[[Floats], Floats]
    n: int


def ratio(numerator: Sequence[float] | Floats, denominator: Sequence[float] | Floats) -> Figure:
    """Return the figure that is a sum over labels divided by another; `n` is the denominator's sum."""
    columns = np.column_stack([np.asarray(numerator, np.float64), np.asarray(denominator, np.float64)])
    return Figure(columns, lambda sums: divide(sums[:, 0], sums[:, 1]), round(float(columns[:, 1].sum())))


def divide(numerator: Floats, denominator: Floats) -> Floats:
    """Return the quotient, NaN where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator != 0)


def estimates(
    figures: Sequence[Figure], clusters: Sequence[Hashable], *, confidence: float = 0.95, seed: int = 0
) -> list[Estimate]:
    """Return figures with their percentile bootstrap intervals (Efron 1979, Annals of Statistics 7(1)).

    All figures are taken of the same resamples. A resample in which a figure is undefined is left out of its interval.

    Args:
        figures: each over the same labels, in the same order.
        clusters: of each label, what it shares with those that are drawn together with it.
        confidence: level of the intervals, in (0, 1).
        seed: of the resampling.

    Raises:
        ValueError: the level is not in (0, 1), or a figure has another number of labels.
    """
    if not 0.0 < confidence < 1.0:
        raise ValueError(f"confidence {confidence}: expected a level between 0 and 1")
    if not figures or not clusters:
        return [Estimate(None, None, None, 0) for _ in figures]
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    membership = np.array([numbers[cluster] for cluster in clusters])
    by_cluster = np.zeros((len(numbers), sum(figure.columns.shape[1] for figure in figures)))
    np.add.at(by_cluster, membership, np.hstack([figure.columns for figure in figures]))
    resampled = _resampled_sums(by_cluster, seed)
    totals = by_cluster.sum(axis=0, keepdims=True)
    tail = (1.0 - confidence) / 2.0
    ends = np.cumsum([figure.columns.shape[1] for figure in figures])[:-1]
    parts = zip(figures, np.split(totals, ends, axis=1), np.split(resampled, ends, axis=1), strict=True)
    return [_estimate(figure, total, drawn, tail) for figure, total, drawn in parts]


def _estimate(figure: Figure, totals: Floats, resampled: Floats, tail: float) -> Estimate:
    value = float(figure.statistic(totals)[0])
    if not np.isfinite(value):
        return Estimate(None, None, None, figure.n)
    drawn = figure.statistic(resampled)
    # The labels' own value stands among them, so that a figure that is defined on few labels has an interval.
    low, high = np.quantile(np.append(drawn[np.isfinite(drawn)], value), [tail, 1.0 - tail])
    return Estimate(value, float(low), float(high), figure.n)


def _resampled_sums(by_cluster: Floats, seed: int) -> Floats:
    """Return the columns' sums in RESAMPLES draws of as many clusters as there are, with replacement."""
    draw = np.random.default_rng(seed)
    count = len(by_cluster)
    rows = max(1, _CELLS_AT_ONCE // count)
    parts = []
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        drawn = draw.integers(0, count, (size, count))
        # How often each cluster is drawn in each resample, so that a resample's sums are one matrix product.
        flat = np.bincount((drawn + count * np.arange(size)[:, None]).ravel(), minlength=size * count)
        parts.append(flat.reshape(size, count).astype(np.float64) @ by_cluster)
    return np.concatenate(parts)
