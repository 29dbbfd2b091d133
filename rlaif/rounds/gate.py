"""The gate: whether a trained policy is promoted, by its answers to the held-out questions.

Invariant: chance promotes an unchanged policy in at most a share `1 - confidence` of the rounds, where `max_drop` is 0.
No figure, or too few questions to tell, never counts as a pass. Drops do not accumulate: a policy is also compared with
the best one so far.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.evaluation.heldout import Comparison
from rlaif.recipe import GateSection
from rlaif.stats.bootstrap import estimates, ratio
from rlaif.store.records.round_records import GateBest, GateResult

# A normal tail below this is beyond any resample.
_LEAST_TAIL = 1e-9


@dataclass(frozen=True, slots=True)
class Opponent:
    """An earlier policy that a trained one is compared with.

    Attributes:
        policy: id of its weights.
        mean: its score, or 0.5 where the judge compares; None where undefined.
        comparison: of the trained policy's answers with its own.
    """

    policy: str
    mean: float | None
    comparison: Comparison


def decide(
    metric: str, after: float | None, current: Opponent, best: Opponent | None, *, section: GateSection, seed: int
) -> GateResult:
    """Compare a trained policy with the current one, and with the best one so far.

    Args:
        metric: what is compared.
        after: the trained policy's mean.
        best: None where it is the current one.
        seed: of the intervals.
    """
    by_means = compare_policies(metric, current.mean, after, section.max_drop)
    confidence = section.confidence
    if confidence is None:
        return by_means
    lows = [lower_end(other.comparison, confidence, seed) for other in (current, best) if other is not None]
    return by_means.model_copy(
        update={
            "confidence": confidence,
            "low": lows[0],
            "best": None if best is None else GateBest(policy=best.policy, before=best.mean, low=lows[-1]),
            "passed": current.mean is not None and all(_passes(each, section.max_drop) for each in lows),
        }
    )


def compare_policies(metric: str, before: float | None, after: float | None, max_drop: float) -> GateResult:
    """Compare a trained policy's mean `after` with the current one's, of which it may fall `max_drop` short.

    None or NaN on either side never passes.
    """
    before, after = (None if mean is None or math.isnan(mean) else mean for mean in (before, after))
    passed = before is not None and after is not None and after >= before - max_drop
    return GateResult(metric=metric, before=before, after=after, max_drop=max_drop, passed=passed)


def lower_end(comparison: Comparison, confidence: float, seed: int) -> float | None:
    """Return the lower end of the one-sided interval of a mean difference; None without any difference.

    It is a quantile of the bootstrap means, and a lower one than 1 - confidence: the expanded percentile interval
    (Hesterberg 2015, The American Statistician 69(4), arXiv:1411.5279) is as wide as Student's, so that few questions
    do not pass more often by chance. Where even a gain on every question is more likely by chance than 1 - confidence,
    it is the lowest value that a difference can have.
    """
    count = len(comparison.differences)
    if count == 0:
        return None
    if _chance_of_gains(count) > 1.0 - confidence:
        return comparison.least
    mean = ratio(comparison.differences, np.ones(count))
    level = 1.0 - 2.0 * _expanded_tail(1.0 - confidence, count)
    return estimates([mean], range(count), confidence=level, seed=seed, with_observed=False)[0].low


def too_few(section: GateSection, questions: int, least: float) -> str | None:
    """Return a line for a person if no policy can pass because the held-out questions are too few, else None.

    Args:
        least: see `Comparison`.
    """
    if section.confidence is None or _passes(least, section.max_drop):
        return None
    needed = next(count for count in range(1, 1000) if _chance_of_gains(count) <= 1.0 - section.confidence)
    if questions >= needed:
        return None
    return (
        f"with {questions} held-out questions a gain on each is still likely by chance: rounds.gate will promote no "
        f"policy; expected at least {needed}"
    )


def _chance_of_gains(count: int) -> float:
    """Return how likely so many questions all gain if a gain is as likely as a loss."""
    return float(0.5**count)


def _expanded_tail(tail: float, count: int) -> float:
    from scipy.stats import norm, t

    width = math.sqrt(count / (count - 1)) * t.ppf(tail, count - 1)
    return max(_LEAST_TAIL, float(norm.cdf(width)))


def _passes(low: float | None, max_drop: float) -> bool:
    """A policy passes that is better, or with a `max_drop` above 0 one that is no worse than that."""
    return low is not None and (low >= -max_drop if max_drop else low > 0.0)


def best_of(earlier: Sequence[str], means: Sequence[float | None]) -> str:
    """Return the name of the earlier policy with the highest mean, the last of several."""
    ranked = [(-math.inf if mean is None else mean, index) for index, mean in enumerate(means)]
    return earlier[max(ranked)[1]]
