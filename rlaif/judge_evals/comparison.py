"""Two judges on the same labels: where only one is right, and whether the difference can be chance.

Invariant: exchanging the judges changes the sign of the difference and leaves McNemar's p value as it is.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from rlaif.data.labels import Side
from rlaif.judge_evals.judging import Errors, JudgedLabel, Outcome
from rlaif.stats.agreement import mcnemar_exact
from rlaif.stats.bootstrap import Estimate, estimates, ratio


@dataclass(frozen=True, slots=True)
class Flip:
    """A label on which exactly one of two judges is right; `first` and `second` are their sides, or outcomes."""

    id: str
    human: Side
    first: Side | Outcome
    second: Side | Outcome
    right: Literal["first", "second"]


@dataclass(frozen=True, slots=True)
class JudgeComparison:
    """Two judges, paired label by label.

    Attributes:
        labels: number of labels on which people prefer one answer; all figures are over these.
        difference: second's accuracy minus first's, from the same resamples.
        both_right, only_first, only_second, neither: number of labels by which judges are right.
        p_value: of McNemar's exact test on `only_first` and `only_second`.
        same_decision: labels on which both decide the same, ties included, of those that both decisions can be read on.
        flips: the labels of `only_first` and `only_second`.
        errors: labels on which a request of the first, and of the second, failed; they count as wrong.
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
    errors: tuple[Errors, Errors]


def compare(first: Sequence[JudgedLabel], second: Sequence[JudgedLabel], seed: int = 0) -> JudgeComparison:
    """Compare two judges on the same labels.

    Raises:
        ValueError: the labels, or their orders, are not the same.
    """
    if [item.label for item in first] != [item.label for item in second]:
        raise ValueError("two judges are compared on the same labels, in the same order")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a.label.human != "tie"]
    first_right = np.array([a.right for a, _ in pairs], float)
    second_right = np.array([b.right for _, b in pairs], float)
    every = np.ones(len(pairs))
    read = np.array([a.side is not None and b.side is not None for a, b in pairs], float)
    same = np.array([a.side == b.side for a, b in pairs], float) * read
    figures = [ratio(right, every) for right in (first_right, second_right, second_right - first_right)]
    first_accuracy, second_accuracy, difference, same_decision = estimates(
        [*figures, ratio(same, read)], [a.cluster for a, _ in pairs], seed=seed
    )
    flips = [
        Flip(a.label.id, a.label.human, a.side or a.outcome, b.side or b.outcome, "first" if a.right else "second")
        for a, b in pairs
        if a.right != b.right
    ]
    right = Counter((a.right, b.right) for a, b in pairs)
    return JudgeComparison(
        labels=len(pairs),
        first=first_accuracy,
        second=second_accuracy,
        difference=difference,
        both_right=right[True, True],
        only_first=right[True, False],
        only_second=right[False, True],
        neither=right[False, False],
        p_value=mcnemar_exact(right[True, False], right[False, True]),
        same_decision=same_decision,
        flips=tuple(flips),
        errors=(_errors(a for a, _ in pairs), _errors(b for _, b in pairs)),
    )


def _errors(judged: Iterable[JudgedLabel]) -> Errors:
    failed = [item.outcome == "error" for item in judged]
    return Errors.among(sum(failed), len(failed))


def comparison_json(judges: tuple[Mapping[str, Any], Mapping[str, Any]], found: JudgeComparison) -> dict[str, Any]:
    """Return the comparison of two judges, each from `JudgeSpec.describe`, as plain values with all its flips."""
    values = asdict(found)
    figures = {name: values.pop(name) for name in ("first", "second", "difference", "same_decision")}
    return {"judges": [dict(judge) for judge in judges], "figures": figures, **values}
