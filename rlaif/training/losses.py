"""The losses of direct preference optimization, one value a pair."""

from typing import Literal

import torch
import torch.nn.functional as F

LossName = Literal["sigmoid", "ipo", "hinge"]


def pair_losses(
    loss: LossName,
    chosen_ratio: torch.Tensor,
    rejected_ratio: torch.Tensor,
    chosen_length: torch.Tensor,
    rejected_length: torch.Tensor,
    beta: float,
) -> torch.Tensor:
    """Return each pair's loss.

    Args:
        loss: `sigmoid` is DPO, equation 7 of Rafailov et al. 2023 (arXiv:2305.18290); `hinge` is SLiC's loss on DPO's
            margin (Zhao et al. 2023, arXiv:2305.10425); `ipo` is equation 17 of Azar et al. 2023 (arXiv:2310.12036) on
            ratios averaged over tokens, as its authors computed it.
        chosen_ratio, rejected_ratio: [P] log(policy / reference) of the whole answer, in nats.
        chosen_length, rejected_length: [P] tokens of each answer.
        beta: strength of the pull to the reference; for `ipo` the paper's tau.
    """
    if loss == "ipo":
        delta = chosen_ratio / chosen_length.clamp(min=1) - rejected_ratio / rejected_length.clamp(min=1)
        return (delta - 1 / (2 * beta)) ** 2
    margin = beta * (chosen_ratio - rejected_ratio)
    if loss == "hinge":
        return torch.relu(1 - margin)
    return -F.logsigmoid(margin)
