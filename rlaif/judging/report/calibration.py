"""Whether a judge's soft preferences mean what they say: of the verdicts it gives 80% to, is it right on 80%?

Invariant: swapping the answers of a label changes nothing: what is binned is the probability of the preferred answer,
from one half to one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.judging.report.bootstrap import Figure, Floats, divide, ratio
from rlaif.judging.report.outcomes import Spoken

BINS = 10


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """What calibration is measured by.

    Attributes:
        ece, brier: see `calibration_figures`.
        bins: of each bin with labels in it: its ends, the mean confidence and the share that is right.
    """

    ece: Figure
    brier: Figure
    bins: tuple[tuple[float, float, Figure, Figure], ...]


def is_soft(said: Sequence[Spoken]) -> bool:
    """Whether a judge gives probabilities between 0 and 1, rather than one answer or the other."""
    return any(
        verdict.preference is not None and 0.0 < verdict.preference < 1.0 for item in said for verdict in item.verdicts
    )


def calibration_figures(said: Sequence[Spoken]) -> CalibrationFigures | None:
    """Return what a judge's soft preferences are measured by, on labels on which people prefer one answer.

    The preference is the mean over the orders that were asked, before orders that disagree become a tie. Its confidence
    is that of the answer it prefers, in [1/2, 1], in ten bins of equal width.

    ece: expected calibration error, the bins' |share right - mean confidence| weighted by their labels (Naeini et al.
        2015, AAAI; Guo et al. 2017, arXiv:1706.04599). Over few labels it is above zero for a perfect judge too.
    brier: mean of (P(answer_a) - [people prefer a])^2 (Brier 1950); 0.25 is a judge that always says one half.

    Returns:
        None where the judge gives no soft preferences.
    """
    if not is_soft(said):
        return None
    given = np.array([0.5 if item.mean_preference is None else item.mean_preference for item in said], float)
    counts = np.array([item.label.human != "tie" and item.mean_preference is not None for item in said], float)
    people_a = np.array([item.label.human == "a" for item in said], float)
    confidence = np.maximum(given, 1.0 - given)
    # A preference of one half is right by half whichever answer people prefer.
    right = np.where(given == 0.5, 0.5, (given > 0.5) == (people_a == 1.0))
    edges = np.linspace(0.5, 1.0, BINS + 1)
    # Right-closed, as Guo et al. bin; the lowest bin holds one half too.
    number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    member = (number[:, None] == np.arange(BINS)) * counts[:, None]
    columns = np.hstack([member, member * right[:, None], member * confidence[:, None]])
    bins = tuple(
        (
            float(edges[index]),
            float(edges[index + 1]),
            ratio(member[:, index] * confidence, member[:, index]),
            ratio(member[:, index] * right, member[:, index]),
        )
        for index in range(BINS)
        if member[:, index].any()
    )
    brier = ratio(counts * (given - people_a) ** 2, counts)
    return CalibrationFigures(Figure(columns, _ece_of_sums, brier.n), brier, bins)


def _ece_of_sums(sums: Floats) -> Floats:
    counts, right, confidence = np.split(sums, 3, axis=1)
    return divide(np.abs(right - confidence).sum(axis=1), counts.sum(axis=1))
