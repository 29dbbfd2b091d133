"""Measures a judge: every figure with its interval.

Invariant: all intervals come from the same resamples; a figure that is undefined on these labels is left out, not shown
as zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from rlaif.data.labels import Side
from rlaif.judge_evals.calibration import Calibration, CalibrationBin, calibrate
from rlaif.judge_evals.judged_labels import JudgedLabel, MemberVerdicts, member_verdicts, members_of
from rlaif.judge_evals.metrics import (
    LengthBin,
    confusion,
    decision_figures,
    length_bins,
    order_figures,
    verdict_figures,
)
from rlaif.recipe.backend import Prices
from rlaif.stats.bootstrap import Estimate, Estimator, Figure, estimates


@dataclass(frozen=True, slots=True)
class Spent:
    """Total cost of some verdicts; `money` and `currency` are None without prices."""

    prompt_tokens: int
    completion_tokens: int
    seconds: float
    money: float | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class MemberMeasurement:
    """The verdicts of one judge: a panel's member, or the measured judge itself.

    Attributes:
        name, sha: of the judge.
        labels: number of labels with a verdict of it.
        verdicts: number of its verdicts by status.
        spent: their total cost.
        figures: see `order_figures`, `verdict_figures` and, for soft preferences, `calibrate`.
        reliability: the reliability curve; empty without soft preferences.
    """

    name: str
    sha: str
    labels: int
    verdicts: Mapping[str, int]
    spent: Spent
    figures: Mapping[str, Estimate]
    reliability: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A judge compared with people.

    Attributes:
        preferred: number of labels on which people prefer one answer.
        questions: number of questions that the labels are about; the bootstrap draws questions.
        figures: of its decisions; see `decision_figures`. If only the decisions are soft, as those of a reward model or
            a panel, also those of `calibrate`.
        confusion: number of labels by people's side and by the judge's.
        length: how often it and people prefer the longer answer, by the ratio of lengths.
        reliability: the reliability curve of the decisions, if only they are soft.
        judges: those that gave the verdicts: a panel's members, or the judge itself.
        confidence: level of the intervals.
        seed: of the bootstrap.
    """

    labels: int
    preferred: int
    questions: int
    figures: Mapping[str, Estimate]
    confusion: Mapping[Side, Mapping[str, int]]
    length: tuple[LengthBin, ...]
    reliability: tuple[CalibrationBin, ...]
    judges: tuple[MemberMeasurement, ...]
    confidence: float
    seed: int


def measure(
    judged: Sequence[JudgedLabel],
    *,
    prices: Mapping[str, Prices] | None = None,
    confidence: float = 0.95,
    seed: int = 0,
) -> Measurement:
    """Measure a judge.

    Args:
        prices: of the verdicts, by the judge's sha256, where known.
        confidence: level of the intervals, in (0, 1).
        seed: of the bootstrap.
    """
    clusters = [item.cluster for item in judged]
    # Each call draws the same resamples: they depend only on the clusters and the seed.
    estimate = partial(estimates, clusters=clusters, confidence=confidence, seed=seed)
    by_member = {member: member_verdicts(judged, member[1]) for member in members_of(judged)}
    curve = None
    # A single judge that compares decides by the preferences that its own curve shows.
    if len(by_member) != 1 or all(item.mean_preference is None for item in next(iter(by_member.values()))):
        decided = [(item.label.human, item.decision.preference if item.decision else None) for item in judged]
        curve = calibrate(decided, estimate)
    return Measurement(
        labels=len(judged),
        preferred=sum(item.label.human != "tie" for item in judged),
        questions=len(set(clusters)),
        figures=_estimated(decision_figures(judged), curve, estimate),
        confusion=confusion(judged),
        length=length_bins(judged, estimate),
        reliability=curve.bins if curve else (),
        judges=tuple(
            _measure_member(name, sha, verdicts, prices=(prices or {}).get(sha), estimate=estimate)
            for (name, sha), verdicts in by_member.items()
        ),
        confidence=confidence,
        seed=seed,
    )


def worst_disagreements(judged: Sequence[JudgedLabel], count: int = 20) -> list[JudgedLabel]:
    """Return the labels on which the judge decides against people, the widest margins first.

    Labels on which people prefer the other answer come before those on which people see a tie; equal ones keep their
    order.
    """
    against = [item for item in judged if item.side in ("a", "b") and item.side != item.label.human]
    margin = [-(item.decision.margin or 0.0) if item.decision else 0.0 for item in against]
    order = sorted(range(len(against)), key=lambda index: (against[index].label.human == "tie", margin[index]))
    return [against[index] for index in order[:count]]


def _measure_member(
    name: str, sha: str, members: Sequence[MemberVerdicts], *, prices: Prices | None, estimate: Estimator
) -> MemberMeasurement:
    verdicts = [verdict for item in members for verdict in item.verdicts]
    prompt = sum(verdict.prompt_tokens for verdict in verdicts)
    completion = sum(verdict.completion_tokens for verdict in verdicts)
    # Both orders averaged, before orders that disagree become a tie.
    curve = calibrate([(item.label.human, item.mean_preference) for item in members], estimate)
    spent = (prices.cost(prompt, completion), prices.currency) if prices else (None, None)
    return MemberMeasurement(
        name,
        sha,
        labels=sum(bool(item.verdicts) for item in members),
        verdicts=dict(Counter(verdict.status for verdict in verdicts)),
        spent=Spent(prompt, completion, sum(verdict.seconds for verdict in verdicts), *spent),
        figures=_estimated(order_figures(members) | verdict_figures(members, prices), curve, estimate),
        reliability=curve.bins if curve else (),
    )


def _estimated(figures: Mapping[str, Figure], curve: Calibration | None, estimate: Estimator) -> dict[str, Estimate]:
    """Return the defined figures, with those of a calibration."""
    found = dict(zip(figures, estimate(list(figures.values())), strict=True))
    if curve is not None:
        found |= {"ece": curve.ece, "brier": curve.brier}
    return {name: value for name, value in found.items() if value.value is not None}
