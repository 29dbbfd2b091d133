"""Whether a judge's soft preferences are calibrated: of the verdicts with 80% confidence, are 80% right?

Invariant: exchanging a label's answers changes nothing: a bin holds the confidence in the preferred answer, from one
half to one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.data.labels import Side
from rlaif.stats.bootstrap import Estimate, Estimator, Figure, Floats, divide, ratio

BINS = 10

SoftPreference = tuple[Side, float | None]
"""People's side of a label, and the judge's P(answer_a is better); None where it has none."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labels of similar confidence: the bin's ends, their mean confidence, and the share that the judge gets right."""

    low: float
    high: float
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class Calibration:
    """The two figures of soft preferences and the bins with labels in them, ascending; see `calibrate`."""

    ece: Estimate
    brier: Estimate
    bins: tuple[CalibrationBin, ...]


def calibrate(preferences: Sequence[SoftPreference], estimate: Estimator) -> Calibration | None:
    """Return the calibration over labels on which people prefer one answer, with ten bins of confidence of equal width.

    A preference's confidence is that of the answer it prefers, in [1/2, 1].

    ece: expected calibration error, the bins' |share right - mean confidence| weighted by their labels (Naeini et al.
        2015, AAAI; Guo et al. 2017, arXiv:1706.04599). With few labels it is above zero even for a perfect judge.
    brier: mean of (P(answer_a) - [people prefer a])^2 (Brier 1950, Monthly Weather Review 78(1)).

    Args:
        preferences: one for each label.
        estimate: the bootstrap over the same labels.

    Returns:
        None where no preference is soft, that is strictly between 0 and 1 and not one half.
    """
    if not any(value is not None and 0.0 < value < 1.0 and value != 0.5 for _, value in preferences):
        return None
    given = np.array([0.5 if value is None else value for _, value in preferences])
    counts = np.array([human != "tie" and value is not None for human, value in preferences], float)
    people_a = np.array([human == "a" for human, _ in preferences])
    confidence = np.maximum(given, 1.0 - given)
    # A preference of one half is half right whichever answer people prefer.
    right = np.where(given == 0.5, 0.5, (given > 0.5) == people_a)
    edges = np.linspace(0.5, 1.0, BINS + 1)
    # Right-closed, as in Guo et al.; the lowest bin includes one half.
    number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    member = (number[:, None] == np.arange(BINS)) * counts[:, None]
    filled = [index for index in range(BINS) if member[:, index].any()]
    brier = ratio(counts * (given - people_a) ** 2, counts)
    ece = Figure(np.hstack([member, member * right[:, None], member * confidence[:, None]]), _ece_of_sums, brier.n)
    shares = estimate([ratio(member[:, index] * right, member[:, index]) for index in filled])
    bins = []
    for index, share in zip(filled, shares, strict=True):
        mean = float((member[:, index] * confidence).sum() / member[:, index].sum())
        bins.append(CalibrationBin(float(edges[index]), float(edges[index + 1]), mean, share))
    ece_estimate, brier_estimate = estimate([ece, brier])
    return Calibration(ece_estimate, brier_estimate, tuple(bins))


def _ece_of_sums(sums: Floats) -> Floats:
    counts, right, confidence = np.split(sums, 3, axis=1)
    return divide(np.abs(right - confidence).sum(axis=1), counts.sum(axis=1))
