"""Whether an engine answers with the weights that were trained, by log-probabilities of a probe.

Single tokens cannot tell: in bfloat16 two right kernels differ by some tenths of a nat on some of them, and a small
training moves none by as much. Over all tokens together both can be told apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rlaif.errors import WorkError
from rlaif.store.policy_weights import Probe

# Two right kernels differ by 0.002 nats a token in bfloat16 and 0.009 at most, and by 1e-5 in float32.
DEFAULT_LIMITS = {"float32": 0.002, "bfloat16": 0.03, "float16": 0.01}
# The weights before and after are told apart if the engine is so many standard deviations of its noise from halfway.
_DEVIATIONS = 3.0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What a probe says of an engine that passed it.

    Attributes:
        difference: mean of |engine - trainer| over the probe's tokens, in nats.
        moved: mean of |trained - before| over them, in nats; None if the log-probabilities before are unknown.
        told_apart: whether the engine's log-probabilities show that its weights are not those before the training.
    """

    difference: float
    moved: float | None = None
    told_apart: bool = False

    @staticmethod
    def worst(results: Sequence["ProbeResult"]) -> "ProbeResult | None":
        """Return one result for several engines with the same probe; None for no engine."""
        if not results:
            return None
        return ProbeResult(
            max(each.difference for each in results), results[0].moved, all(each.told_apart for each in results)
        )


def check_probe(probe: Probe, found: Sequence[Sequence[float]], limit: float) -> ProbeResult:
    """Compare an engine's log-probabilities of a probe's sequences with the trainer's.

    Args:
        found: for each sequence, of its tokens from `start` on, in nats.
        limit: largest mean difference a token.

    Raises:
        WorkError: they differ by more, or they are nearer to those of the weights before the training.
    """
    engine, after = np.concatenate(found), np.concatenate([each.after for each in probe.sequences])
    difference = float(np.mean(np.abs(engine - after)))
    if not difference <= limit:
        raise WorkError(
            "the engine does not answer with the trained weights: on a probe its log-probabilities differ by "
            f"{difference:.4f} nats a token from the trainer's, more than training.max_probe_difference ({limit})"
        )
    if any(each.before is None for each in probe.sequences):
        return ProbeResult(difference)
    before = np.concatenate([each.before or [] for each in probe.sequences])
    moved = float(np.mean(np.abs(after - before)))
    from_after, from_before = float(np.linalg.norm(engine - after)), float(np.linalg.norm(engine - before))
    # Independent noise of each token lies along the one direction of the training with the deviation of one token.
    noise = min(from_after, from_before) / math.sqrt(len(engine))
    told_apart = float(np.linalg.norm(after - before)) / 2 > _DEVIATIONS * noise
    if told_apart and from_before < from_after:
        raise WorkError(
            "the engine answers with the weights before the training: a probe's log-probabilities differ by "
            f"{float(np.mean(np.abs(engine - before))):.2g} nats a token from theirs and by {difference:.2g} from the "
            "trained ones. In bfloat16 a change of full weights this small can be lost in rounding: train with a "
            "larger learning rate, or with policy.dtype: float32"
        )
    return ProbeResult(difference, moved, told_apart)
