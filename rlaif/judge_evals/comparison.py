"""Two judges on the same labels: which is right where the other is wrong, and whether that can be chance.

Invariant: exchanging the two judges turns the difference's sign and leaves McNemar's p value as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rlaif.judge_evals.outcomes import Judged, Outcome
from rlaif.stats.agreement import mcnemar_exact
from rlaif.stats.bootstrap import Estimate, estimates, ratio


@dataclass(frozen=True, slots=True)
class Flip:
    """A label on which one judge is right and the other is not.

    Attributes:
        first, second: what each judge says of it.
        better: which of the two is right.
    """

    first: Judged
    second: Judged
    better: Literal["first", "second"]

    @property
    def outcomes(self) -> tuple[Outcome, Outcome]:
        """How the two decisions ended."""
        return self.first.outcome, self.second.outcome


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two judges, paired label by label.

    Attributes:
        labels: on which people prefer one answer; all figures count over these.
        first, second: each judge's accuracy.
        difference: second's accuracy minus first's, of the same resamples.
        both_right, only_first, only_second, neither: labels by who is right.
        p_value: McNemar's exact test: how likely so uneven a split of `only_first` and `only_second` is where the
            judges are equally good.
        same_decision: labels on which both decide the same, a tie included, of those both could read.
        flips: the labels of `only_first` and `only_second`.
    """

    labels: int
    first: Estimate
    second: Estimate
    difference: Estimate
    both_right: int
    only_first: int
    only_second: int
    neither: int
    p_value: float
    same_decision: Estimate
    flips: tuple[Flip, ...]


def compare(first: Sequence[Judged], second: Sequence[Judged], confidence: float = 0.95, seed: int = 0) -> Comparison:
    """Compare two judges that were asked the same labels.

    Args:
        first, second: what each said, label by label in one order.
        confidence: level of the intervals, in (0, 1).
        seed: of the bootstrap.

    Raises:
        ValueError: the labels are not the same.
    """
    if [item.label for item in first] != [item.label for item in second]:
        raise ValueError("two judges are compared on the same labels, in the same order")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.label.human != "tie"]
    one = np.array([a.right for a, _ in pairs], float)
    other = np.array([b.right for _, b in pairs], float)
    each = np.ones(len(pairs))
    read = np.array([a.side is not None and b.side is not None for a, b in pairs], float)
    same = np.array([a.side == b.side for a, b in pairs], float) * read
    figures = [ratio(one, each), ratio(other, each), ratio(other - one, each), ratio(same, read)]
    clusters = [a.cluster for a, _ in pairs]
    of_first, of_second, difference, alike = estimates(figures, clusters, confidence=confidence, seed=seed)
    flips = [Flip(a, b, "first" if a.right else "second") for a, b in pairs if a.right != b.right]
    only_first = sum(flip.better == "first" for flip in flips)
    both_right = sum(a.right and b.right for a, b in pairs)
    return Comparison(
        labels=len(pairs),
        first=of_first,
        second=of_second,
        difference=difference,
        both_right=both_right,
        only_first=only_first,
        only_second=len(flips) - only_first,
        neither=len(pairs) - both_right - len(flips),
        p_value=mcnemar_exact(only_first, len(flips) - only_first),
        same_decision=alike,
        flips=tuple(flips),
    )
