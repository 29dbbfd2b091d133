"""What people's labels buy: agreement with people where a share of the comparisons is decided by people themselves.

Invariant: the order in which people are asked never looks at their labels; a label that people were asked for is right.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rlaif.judge_evals.judging import JudgedLabel
from rlaif.judges.uncertainty import JudgedPair, Reason, ask_first
from rlaif.stats.bootstrap import Estimate, estimates, ratio

SHARES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5)


@dataclass(frozen=True, slots=True)
class RoutePoint:
    """Agreement with people if they decide a share of the comparisons.

    Attributes:
        share: of all labels.
        asked: number of labels that people decide, by the reason.
        by_worth: agreement where they are asked as `ask_first` says.
        at_random: agreement that is expected where as many are drawn at random.
        gain: by_worth minus at_random, from the same resamples.
    """

    share: float
    asked: Mapping[Reason, int]
    by_worth: Estimate
    at_random: Estimate
    gain: Estimate


@dataclass(frozen=True, slots=True)
class Routing:
    """The points of a judge on some labels; agreement is over the `preferred` labels on which people see no tie."""

    labels: int
    preferred: int
    questions: int
    points: tuple[RoutePoint, ...]


def route(judged: Sequence[JudgedLabel], shares: Sequence[float] = SHARES, seed: int = 0) -> Routing:
    """Replay on labels that people have given what asking them for a share of these would have brought.

    Args:
        judged: labels with a judge's verdicts.
        shares: of the labels, each in [0, 1].
        seed: of the intervals.
    """
    pairs = [JudgedPair(item.label.answers, item.verdicts, item.decision) for item in judged]
    order = ask_first(pairs, round(max(shares, default=0.0) * len(pairs)))
    preferred = np.array([item.label.human != "tie" for item in judged], float)
    right = np.array([item.right for item in judged], float)
    clusters = [item.cluster for item in judged]
    points = []
    for share in shares:
        asked = order[: round(share * len(judged))]
        chosen = np.zeros(len(judged))
        chosen[[each.index for each in asked]] = 1.0
        by_worth = np.maximum(right, chosen * preferred)
        at_random = (right + (1.0 - right) * (len(asked) / max(1, len(judged)))) * preferred
        figures = [ratio(values, preferred) for values in (by_worth, at_random, by_worth - at_random)]
        counts = Counter(each.reason for each in asked)
        points.append(RoutePoint(share, dict(counts), *estimates(figures, clusters, seed=seed)))
    return Routing(len(judged), int(preferred.sum()), len(set(clusters)), tuple(points))


def routing_json(judge: Mapping[str, Any], found: Routing) -> dict[str, Any]:
    """Return a routing as plain values, with the judge's own from `JudgeSpec.describe`."""
    return {"judge": dict(judge), **asdict(found)}
