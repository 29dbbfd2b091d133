"""How much a pair counts among the pairs of its step."""

from collections.abc import Callable, Mapping
from typing import Any

from rlaif.recipe import TrainingSection

COLUMNS = ("margin", "source")
"""Columns of `pairs.parquet` that a weight depends on."""


def pair_weight(training: TrainingSection) -> Callable[[Mapping[str, Any]], float]:
    """Return what gives a row of `pairs.parquet` its weight.

    With `weights: margin` it is the pair's margin, |2p - 1| of a judge's soft preference p: the difference of the
    chances that the judge gives the two answers, so that a pair it is unsure of moves the policy little. A difference
    of scores counts as one from one up. A person's pair has `human_weight`, whatever its margin.
    """

    def weight(row: Mapping[str, Any]) -> float:
        if row["source"] == "human":
            return training.human_weight
        if training.weights == "margin" and row["margin"] is not None:
            return min(1.0, float(row["margin"]))
        return 1.0

    return weight
