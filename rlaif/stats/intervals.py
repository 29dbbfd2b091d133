"""Means over held-out questions with their bootstrap intervals.

Invariant: no interval is NaN. One value is its own interval; `n` shows how little that says.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rlaif.stats.bootstrap import Estimate, estimates, ratio


def mean_interval(values: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean with its percentile bootstrap interval; no value where there are no values.

    Args:
        values: finite numbers, one for each question.
        confidence, seed: as in `rlaif.stats.bootstrap.estimates`.

    Raises:
        ValueError: a value is not finite, or the level is not in (0, 1).
    """
    if not np.isfinite(values).all():
        raise ValueError("values of an interval must be finite")
    mean = ratio(values, np.ones(len(values)))
    return estimates([mean], range(len(values)), confidence=confidence, seed=seed, with_observed=False)[0]


def paired_difference(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the mean of new - old over the same questions, with its interval.

    Pairing removes the questions' own difficulty, so the interval is narrower than that of two separate means.

    Args:
        new, old: values of the same questions in the same order.
        confidence, seed: as in `mean_interval`.

    Raises:
        ValueError: as in `mean_interval`, or the lengths differ.
    """
    return mean_interval([a - b for a, b in zip(new, old, strict=True)], confidence, seed)


def win_rate(new: Sequence[float], old: Sequence[float], confidence: float = 0.95, seed: int = 0) -> Estimate:
    """Return the share of questions on which new scores above old, ties counting half, with its interval.

    Args, errors: as in `paired_difference`.
    """
    wins = [1.0 if a > b else 0.0 if a < b else 0.5 for a, b in zip(new, old, strict=True)]
    return mean_interval(wins, confidence, seed)


def interval_json(found: Estimate | None) -> dict[str, Any] | None:
    """Return a mean with its interval as plain values: mean, low, high and n."""
    return None if found is None else {"mean": found.value, "low": found.low, "high": found.high, "n": found.n}
