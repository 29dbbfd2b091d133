"""The losses of policy gradients, token by token.

Suffixes name axes: A answer tokens of a pack, C candidates of a pack.
"""

from dataclasses import dataclass

import torch

from rlaif.recipe import GrpoSection, PolicyGradientSection
from rlaif.training.shared_prompt import PackedRow, sums_by_candidate


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """The losses of tokens, or of answers, and how far the policy has moved.

    Attributes:
        losses: [A] or, of whole answers, [C].
        ratios: likewise; the policy's probability over that before the training.
        clipped: likewise; 1 where the ratio has left the clips and teaches nothing, or where it is bounded.
    """

    losses: torch.Tensor
    ratios: torch.Tensor
    clipped: torch.Tensor


def clipped_losses(log_ratios: torch.Tensor, advantages: torch.Tensor, section: PolicyGradientSection) -> TokenLosses:
    """Return -min(w A, clip(w, 1 - low, 1 + high) A) with w = exp(log ratio).

    Equation 7 of Schulman et al. 2017 (arXiv:1707.06347) with two clips (DAPO, arXiv:2503.14476, equation 10).
    """
    ratios = log_ratios.exp()
    low, high = 1 - section.clip_low, 1 + section.clip_high
    losses = -torch.min(ratios * advantages, ratios.clamp(low, high) * advantages)
    clipped = ((ratios < low) & (advantages < 0)) | ((ratios > high) & (advantages > 0))
    return TokenLosses(losses, ratios.detach(), clipped.float())


def grpo_losses(
    logps_A: torch.Tensor, old_A: torch.Tensor, advantages_A: torch.Tensor, row: PackedRow, section: GrpoSection
) -> TokenLosses:
    """Return the losses of `GrpoSection`, without the divergence from a reference policy.

    Args:
        logps_A, old_A: log-probabilities under the policy and under that before the training, in nats.
        advantages_A: of each token, that of its answer.
    """
    log_ratios_A = logps_A - old_A
    if section.ratio == "sequence":
        # Equation 7 of GSPO (arXiv:2507.18071).
        log_ratios_A = (sums_by_candidate(row, log_ratios_A) / row.lengths.clamp(min=1))[row.owner]
    if section.clip == "ppo":
        return clipped_losses(log_ratios_A, advantages_A, section)
    # Equation 4 of MiniMax-M1 (arXiv:2506.13585): the weight has no gradient.
    ratios_A = log_ratios_A.exp().detach()
    most = 1 + section.clip_high
    clipped_A = (ratios_A > most) & (advantages_A > 0)
    return TokenLosses(-ratios_A.clamp(max=most) * advantages_A * logps_A, ratios_A, clipped_A.float())


def divergence(logps_A: torch.Tensor, reference_A: torch.Tensor) -> torch.Tensor:
    """Return the estimate k3 of KL(policy || reference policy) of each token: exp(d) - d - 1, d = reference - policy.

    Schulman 2020, "Approximating KL divergence"; equation 4 of Shao et al. 2024 (arXiv:2402.03300).
    """
    difference_A = reference_A - logps_A
    return difference_A.exp() - difference_A - 1


def value_losses(
    values_A: torch.Tensor, old_A: torch.Tensor, returns_A: torch.Tensor, clip: float | None
) -> torch.Tensor:
    """Return half the squared error of each value: with a clip, the larger one of it and of the value moved by at most
    that from the old one, as OpenAI's PPO has it (Dhariwal et al. 2017, "OpenAI Baselines")."""
    errors_A = (values_A - returns_A) ** 2
    if clip is not None:
        near_A = old_A + (values_A - old_A).clamp(-clip, clip)
        errors_A = torch.max(errors_A, (near_A - returns_A) ** 2)
    return 0.5 * errors_A
