"""The advantages of each objective: of GRPO and RLOO from a group's rewards, of PPO from a value head's values.

Invariant: of GRPO and RLOO all tokens of an answer have its advantage.

Suffixes name axes: C candidates of a group, T tokens of one answer, A tokens of all answers of a group.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from rlaif.recipe import GrpoSection, PolicyGradientSection, PpoSection, RlooSection
from rlaif.training.policy_gradient.advantages import (
    explained_variance,
    generalized_advantages,
    group_advantages,
    leave_one_out_advantages,
    whitened,
)
from rlaif.training.policy_gradient.rollouts import Floats, RolloutGroup


def with_advantages(groups: Sequence[RolloutGroup], settings: PolicyGradientSection) -> list[RolloutGroup]:
    """Return groups with the advantages of their tokens, and with a value head's returns."""
    if isinstance(settings, PpoSection):
        return _with_returns(groups, settings)
    found = []
    for group in groups:
        rewards_C = group.rewards_C
        if isinstance(settings, RlooSection):
            if settings.kl:
                rewards_C = rewards_C - settings.kl * _divergences(group)
            advantages_C = leave_one_out_advantages(rewards_C)
        else:
            scaled = isinstance(settings, GrpoSection) and settings.scale == "std"
            advantages_C = group_advantages(rewards_C, scaled=scaled)
        found.append(replace(group, advantages_A=group.of_answers(advantages_C)))
    return found


def _divergences(group: RolloutGroup) -> Floats:
    """Return each answer's log-probability before the training less the reference policy's: [C]."""
    return np.array([part.sum() for part in group.by_answer(group.old_A - group.reference_A)], np.float32)


def _with_returns(groups: Sequence[RolloutGroup], settings: PpoSection) -> list[RolloutGroup]:
    found = []
    for group in groups:
        rewards_A = np.zeros_like(group.old_A)
        if settings.kl:
            rewards_A = -settings.kl * (group.old_A - group.reference_A)
        rewards_A[np.cumsum(group.lengths) - 1] += group.rewards_C
        parts = [
            generalized_advantages(rewards_T, values_T, gamma=settings.gamma, gae_lambda=settings.gae_lambda)
            for rewards_T, values_T in zip(group.by_answer(rewards_A), group.by_answer(group.values_A), strict=True)
        ]
        advantages_A, returns_A = (np.concatenate(each) for each in zip(*parts, strict=True))
        found.append(replace(group, advantages_A=advantages_A, returns_A=returns_A))
    if not settings.whiten:
        return found
    every = whitened([group.advantages_A for group in found])
    return [replace(group, advantages_A=advantages_A) for group, advantages_A in zip(found, every, strict=True)]


def explained(groups: Sequence[RolloutGroup]) -> float:
    """Return the share of the variance of all returns that the values explain."""
    values_A = np.concatenate([group.values_A for group in groups])
    return explained_variance(values_A, np.concatenate([group.returns_A for group in groups]))
