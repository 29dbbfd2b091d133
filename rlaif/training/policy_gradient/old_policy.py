"""Log-probabilities of the policy before the training, of the reference policy, and the values of the value head.

Invariant: the engine's log-probabilities are the old ones only where the policy that is trained sampled every answer at
temperature 1 and the engine's match the trainer's; else the trainer computes them itself.

Suffixes name axes: A tokens of all answers of a group.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from rlaif.models.dtype import bfloat16_passes, weights_dtype
from rlaif.recipe import PolicyGradientSection
from rlaif.training.dpo.mismatch import MAX_BIAS
from rlaif.training.groups import Group
from rlaif.training.job import TrainingJob
from rlaif.training.models import score_outputs
from rlaif.training.policy_gradient.rollouts import Floats, RolloutGroup
from rlaif.training.reference_scores import initial_policy, share_among_workers

if TYPE_CHECKING:
    from rlaif.training.shared_prompt import PackedRow, TokenOutputs

MAX_MISMATCH = 0.05
"""Default of `PolicyGradientSection.max_mismatch`."""
# Compares a tenth of the groups, within these bounds.
_FEWEST_GROUPS, _MOST_GROUPS = 4, 16

Job = TrainingJob[PolicyGradientSection]


@dataclass(frozen=True, slots=True)
class TokenMismatch:
    """The distance of the engine's log-probabilities from the trainer's, in nats a token.

    Attributes:
        mean: of |trainer - engine|.
        bias: mean of trainer - engine.
        p99: 99th percentile of |trainer - engine|.
    """

    mean: float
    bias: float
    p99: float


@dataclass(frozen=True, slots=True)
class OldPolicy:
    """Groups with all log-probabilities and values that their loss needs.

    Attributes:
        origin: where those before the training come from.
        mismatch: of the engine's; None where another policy, or another temperature, gives nothing to compare.
    """

    groups: list[RolloutGroup]
    origin: Literal["engine", "trainer"]
    mismatch: TokenMismatch | None


def settle_old_policy(groups: Sequence[RolloutGroup], model: Any, base: str, job: Job, *, values: bool) -> OldPolicy:
    """Give every token its log-probabilities before the training. Every worker calls, and all get the same.

    Args:
        groups: all groups of the training.
        model: the policy before its first update.
        base: local folder of the initial policy.
        values: whether the model has a value head.
    """
    found = None
    if job.temperature == 1 and all(group.policy in ("", job.start.id) for group in groups):
        found = _measure(groups, model, job)
        if _is_small(found, job) and not values:
            settled = [replace(group, old_A=group.sampled_A) for group in groups]
            return OldPolicy(_with_reference(settled, model, base, job), "engine", found)
    scores = _score(groups, model, job)
    settled = [
        replace(group, old_A=score.logps_A, values_A=score.values_A, raw_A=score.raw_A)
        for group, score in zip(groups, scores, strict=True)
    ]
    return OldPolicy(_with_reference(settled, model, base, job), "trainer", found)


def _with_reference(groups: list[RolloutGroup], model: Any, base: str, job: Job) -> list[RolloutGroup]:
    if not job.settings.kl:
        return groups
    if job.settings.reference == "previous" or not job.start.path:
        return [replace(group, reference_A=group.old_A) for group in groups]
    reference, context = initial_policy(model, base, job)
    with context:
        scores = _score(groups, reference, job)
    return [replace(group, reference_A=score.logps_A) for group, score in zip(groups, scores, strict=True)]


@dataclass(frozen=True, slots=True)
class _TokenScores:
    """What a model makes of a group's tokens; see `TokenOutputs`. What it does not give is empty."""

    logps_A: Floats
    values_A: Floats
    raw_A: Floats


def _score(groups: Sequence[RolloutGroup], model: Any, job: Job) -> list[_TokenScores]:
    def score(share: Sequence[Group], passes: int) -> list[_TokenScores]:
        return _score_alone(share, model, job, passes)

    return share_among_workers(groups, job.settings.max_tokens_per_pack, score)


def _score_alone(groups: Sequence[Group], model: Any, job: Job, passes: int = 0) -> list[_TokenScores]:
    return score_outputs(
        model,
        groups,
        job.settings.max_tokens_per_pack,
        job.gpu,
        score=_by_group,
        passes=passes,
        temperature=job.temperature,
        # A sharded model brings its own precision.
        bfloat16=bfloat16_passes(job.start.dtype, job.gpu) and not job.sharded,
    )


def _by_group(groups: Sequence[Group], row: "PackedRow", outputs: "TokenOutputs") -> list[_TokenScores]:
    every = [np.zeros(0, np.float32) if output is None else output.cpu().numpy() for output in outputs]
    ends = np.cumsum([group.counted_tokens for group in groups])
    return [
        _TokenScores(*(values_A[end - group.counted_tokens : end] for values_A in every))
        for group, end in zip(groups, ends, strict=True)
    ]


def _measure(groups: Sequence[RolloutGroup], model: Any, job: Job) -> TokenMismatch:
    count = min(_MOST_GROUPS, max(_FEWEST_GROUPS, len(groups) // 10))
    sample = groups[:: max(1, len(groups) // count)][:count]
    scores = _score_alone(sample, model, job)
    errors_A = np.concatenate(
        [score.logps_A - group.sampled_A for group, score in zip(sample, scores, strict=True)], dtype=np.float64
    )
    away_A = np.abs(errors_A)
    return TokenMismatch(float(away_A.mean()), float(errors_A.mean()), float(np.percentile(away_A, 99)))


def _is_small(found: TokenMismatch, job: Job) -> bool:
    limit = job.settings.max_mismatch or MAX_MISMATCH
    return found.p99 <= limit and abs(found.bias) <= MAX_BIAS[weights_dtype(job.start.dtype, job.gpu)]
