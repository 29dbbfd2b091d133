"""The mismatch between the log-probabilities of the engine that sampled and of the trainer, for the same weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.training.groups import Group
from rlaif.training.scoring import score_groups

# Compares a tenth of the groups, within these bounds. On a CPU, scoring one costs a third of training on it.
_FEWEST_GROUPS, _MOST_GROUPS = 4, 16
DEFAULT_LIMITS = {"float32": 0.02, "bfloat16": 0.25, "float16": 0.1}
"""Limit of the 99th percentile, in nats a token, by the engine's dtype."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The distance of the engine's log-probabilities from the trainer's, in nats a token.

    Attributes:
        mean, p99: of |trainer - engine| / tokens, over candidates.
        candidates: how many were compared.
        limit: of the 99th percentile.
    """

    mean: float
    p99: float
    candidates: int
    limit: float

    @property
    def too_large(self) -> bool:
        """Whether the engine's log-probabilities must not serve as the reference."""
        return not self.p99 <= self.limit


def measure_mismatch(groups: Sequence[Group], model: Any, limit: float, *, max_tokens: int, gpu: bool) -> Mismatch:
    """Score a sample of the groups with the model and compare.

    Args:
        groups: with the engine's log-probabilities as references.
        model: the weights that the engine sampled with.
        limit: see `Mismatch`.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this process's GPU.
    """
    import numpy as np

    count = min(_MOST_GROUPS, max(_FEWEST_GROUPS, len(groups) // 10))
    sample = groups[:: max(1, len(groups) // count)][:count]
    distances = []
    for group, logps in zip(sample, score_groups(model, sample, max_tokens, gpu), strict=True):
        engine = {pair.chosen: pair.ref_chosen_logp for pair in group.pairs}
        engine |= {pair.rejected: pair.ref_rejected_logp for pair in group.pairs}
        distances += [abs(logps[i] - logp) / max(1, len(group.candidates[i])) for i, logp in engine.items()]
    return Mismatch(float(np.mean(distances)), float(np.percentile(distances, 99)), len(distances), limit)
