"""Advantages: by how much an answer, or each of its tokens, was better than expected.

Suffixes name axes: C candidates of a group, T tokens of one answer, A tokens of all answers.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_EPSILON = 1e-4


def group_advantages(rewards_C: Floats, *, scaled: bool) -> Floats:
    """Return each reward less the group's mean (Shao et al. 2024, arXiv:2402.03300, section 4.1.2).

    Args:
        scaled: divide by the group's standard deviation (of a sample, so by C - 1) plus 1e-4.
    """
    advantages_C: Floats = rewards_C - rewards_C.mean()
    return advantages_C / (rewards_C.std(ddof=1) + _EPSILON) if scaled else advantages_C


def leave_one_out_advantages(rewards_C: Floats) -> Floats:
    """Return each reward less the mean of the group's others (Ahmadian et al. 2024, arXiv:2402.14740, equation 6)."""
    others_C: Floats = (rewards_C.sum() - rewards_C) / (len(rewards_C) - 1)
    return rewards_C - others_C


def generalized_advantages(
    rewards_T: Floats, values_T: Floats, *, gamma: float, gae_lambda: float
) -> tuple[Floats, Floats]:
    """Return the advantages of an answer's tokens and their returns, advantages plus values.

    Generalized advantage estimation (Schulman et al. 2015, arXiv:1506.02438, equations 11 and 16): with
    delta_t = r_t + gamma V_(t+1) - V_t, A_t = delta_t + gamma lambda A_(t+1). After the last token both are 0.

    Args:
        rewards_T: of each token; an answer's own reward is on its last one.
        values_T: of what is before each token.
    """
    following_T = np.append(values_T[1:], np.float32(0))
    delta_T = rewards_T + gamma * following_T - values_T
    advantages_T = np.zeros_like(values_T)
    after = 0.0
    for token in reversed(range(len(delta_T))):
        after = delta_T[token] + gamma * gae_lambda * after
        advantages_T[token] = after
    return advantages_T, advantages_T + values_T


def whitened(advantages: Sequence[Floats]) -> list[Floats]:
    """Return advantages shifted and scaled to mean 0 and variance 1 over all tokens."""
    every_A = np.concatenate(advantages)
    mean, scale = every_A.mean(), np.sqrt(every_A.var() + 1e-8)
    return [(each - mean) / scale for each in advantages]


def explained_variance(values_A: Floats, returns_A: Floats) -> float:
    """Return 1 - var(R - V) / var(R), the share of the returns' variance that values explain; 0 if R is constant."""
    variance = float(returns_A.var())
    return 1.0 - float((returns_A - values_A).var()) / variance if variance > 0 else 0.0
