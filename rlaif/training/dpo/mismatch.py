"""The mismatch: how far the engine's log-probabilities are from the trainer's for the same weights.

It is measured by what it does. The engine's log-probabilities are the reference of every pair, so their error moves a
pair's margin by beta times the error of the chosen answer less that of the rejected one; a margin of 1 moves DPO's
gradient by a quarter of its weight at most. An error that all tokens share prefers answers by their length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.recipe import PER_TOKEN_LOSSES, TrainingSection
from rlaif.training.groups import Group

MAX_MISMATCH = 0.1
"""Default of `training.max_mismatch`."""
# Largest shared error, by the engine's dtype. Measured with SmolLM2-135M on a CPU and answers of 23 tokens: 5e-6 in
# float32 and 1e-3 in bfloat16; margins moved by 1e-5 and 0.06 at beta 0.1.
MAX_BIAS = {"float32": 1e-4, "bfloat16": 0.01, "float16": 2e-3}


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The distance of the engine's log-probabilities from the trainer's.

    Attributes:
        mean: of |trainer - engine| / tokens over candidates, in nats a token.
        bias: mean of trainer - engine over all tokens, in nats a token.
        margin_p99: 99th percentile over pairs of the distance by which it moves their margins.
    """

    mean: float
    bias: float
    margin_p99: float

    def is_small(self, settings: TrainingSection, dtype: str) -> bool:
        """Whether the engine's log-probabilities may be the reference; `dtype` is the engine's."""
        limit = settings.max_mismatch or MAX_MISMATCH
        return self.margin_p99 <= limit and abs(self.bias) <= MAX_BIAS[dtype]


def mismatch(groups: Sequence[Group], logps: Sequence[Sequence[float]], settings: TrainingSection) -> Mismatch:
    """Compare the references of groups' pairs, which are the engine's, with the trainer's log-probabilities.

    Args:
        logps: of each group's candidates, in nats.
    """
    by_candidate: list[tuple[float, int]] = []
    margins: list[float] = []
    for group, trainers in zip(groups, logps, strict=True):
        errors: dict[int, float] = {}
        lengths = [max(1, len(candidate)) for candidate in group.candidates]
        for pair in group.pairs:
            errors[pair.chosen] = trainers[pair.chosen] - pair.ref_chosen_logp
            errors[pair.rejected] = trainers[pair.rejected] - pair.ref_rejected_logp
            chosen, rejected = errors[pair.chosen], errors[pair.rejected]
            if settings.loss in PER_TOKEN_LOSSES:
                chosen, rejected = chosen / lengths[pair.chosen], rejected / lengths[pair.rejected]
            margins.append(settings.beta * abs(chosen - rejected))
        by_candidate += [(error, lengths[index]) for index, error in errors.items()]
    return Mismatch(
        mean=float(np.mean([abs(error) / length for error, length in by_candidate])),
        bias=sum(error for error, _ in by_candidate) / sum(length for _, length in by_candidate),
        margin_p99=float(np.percentile(margins, 99)),
    )
