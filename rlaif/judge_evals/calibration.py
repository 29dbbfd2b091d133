"""Whether a judge's soft preferences mean what they say: of the verdicts it gives 80% to, is it right on 80%?

Invariant: swapping the answers of a label changes nothing: what is binned is the probability of the preferred answer,
from one half to one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.data.labels import Side
from rlaif.judge_evals.outcomes import Judged, Spoken
from rlaif.stats.bootstrap import Figure, Floats, divide, ratio

BINS = 10

Soft = tuple[Side, float | None]
"""What people say of a label, and a judge's P(answer_a is better); None where it has none."""


@dataclass(frozen=True, slots=True)
class BinFigures:
    """Labels of about one confidence: its ends, the mean confidence, and the share on which the judge is right."""

    low: float
    high: float
    confidence: float
    right: Figure


@dataclass(frozen=True, slots=True)
class CalibrationFigures:
    """What calibration is measured by; see `calibration_figures`.

    Attributes:
        ece, brier: the two figures.
        bins: those with labels in them, ascending.
    """

    ece: Figure
    brier: Figure
    bins: tuple[BinFigures, ...]


def preferences_of_speaker(said: Sequence[Spoken]) -> list[Soft]:
    """Return one judge's preferences, both orders averaged, before orders that disagree become a tie."""
    return [(item.label.human, item.mean_preference) for item in said]


def preferences_of_decisions(judged: Sequence[Judged]) -> list[Soft]:
    """Return the preferences that a judge of several verdicts decides by: two ratings, or a panel's votes."""
    return [(item.label.human, item.decision.preference if item.decision else None) for item in judged]


def calibration_figures(preferences: Sequence[Soft]) -> CalibrationFigures | None:
    """Return what soft preferences are measured by, on labels on which people prefer one answer.

    A preference's confidence is that of the answer it prefers, in [1/2, 1], in ten bins of equal width.

    ece: expected calibration error, the bins' |share right - mean confidence| weighted by their labels (Naeini et al.
        2015, AAAI; Guo et al. 2017, arXiv:1706.04599). Over few labels it is above zero for a perfect judge too.
    brier: mean of (P(answer_a) - [people prefer a])^2 (Brier 1950, Monthly Weather Review 78(1)); 0.25 is a judge that
        always says one half.

    Args:
        preferences: one for each label.

    Returns:
        None where no preference is soft, that is between 0 and 1 and not one half.
    """
    if not any(value is not None and 0.0 < value < 1.0 and value != 0.5 for _, value in preferences):
        return None
    given = np.array([0.5 if value is None else value for _, value in preferences])
    counts = np.array([human != "tie" and value is not None for human, value in preferences], float)
    people_a = np.array([human == "a" for human, _ in preferences])
    confidence = np.maximum(given, 1.0 - given)
    # A preference of one half is right by half whichever answer people prefer.
    right = np.where(given == 0.5, 0.5, (given > 0.5) == people_a)
    edges = np.linspace(0.5, 1.0, BINS + 1)
    # Right-closed, as Guo et al. bin; the lowest bin holds one half too.
    number = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, BINS - 1)
    member = (number[:, None] == np.arange(BINS)) * counts[:, None]
    columns = np.hstack([member, member * right[:, None], member * confidence[:, None]])
    bins = tuple(
        BinFigures(
            float(edges[index]),
            float(edges[index + 1]),
            float((member[:, index] * confidence).sum() / member[:, index].sum()),
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
