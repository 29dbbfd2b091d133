"""The weight of a pair among the pairs of its step."""

from collections.abc import Callable, Mapping
from typing import Any

from rlaif.recipe import TrainingSection

WEIGHT_COLUMNS = ("margin", "source")
"""The columns of `pairs.parquet` that a weight depends on."""


def pair_weight(training: TrainingSection) -> Callable[[Mapping[str, Any]], float]:
    """Return the function from a row of `pairs.parquet` to its weight.

    With `weights: margin` the weight is the pair's margin, at most 1: |2p - 1| for a judge's preference p, the
    difference of the probabilities that it gives the two answers, or a difference of scores. A pair that a judge is
    unsure of so moves the policy little. A person's pair has `human_weight`, whatever its margin.
    """

    def weight(row: Mapping[str, Any]) -> float:
        if row["source"] == "human":
            return training.human_weight
        if training.weights == "margin" and row["margin"] is not None:
            return min(1.0, float(row["margin"]))
        return 1.0

    return weight
