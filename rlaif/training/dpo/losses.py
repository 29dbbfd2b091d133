"""The losses of direct preference optimization, one value a pair.

Each is TRL's loss of the same name, formula for formula; `sigmoid` also takes a label smoothing, which TRL's ignores.
"""

from typing import Literal

import torch
import torch.nn.functional as F

LossName = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"]


def pair_losses(
    loss: LossName,
    chosen_ratio: torch.Tensor,
    rejected_ratio: torch.Tensor,
    chosen_length: torch.Tensor,
    rejected_length: torch.Tensor,
    beta: float,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return each pair's loss.

    Args:
        loss: with d = beta * (chosen_ratio - rejected_ratio) and e the label smoothing,
            `sigmoid` is DPO, equation 7 of Rafailov et al. 2023 (arXiv:2305.18290), -log sigmoid(d); with e > 0 its
            conservative form, -(1 - e) log sigmoid(d) - e log sigmoid(-d) (Mitchell 2023, "A note on DPO with noisy
            preferences");
            `robust` is that form made unbiased, equation 12 of Chowdhury et al. 2024 (arXiv:2403.00409):
            (-(1 - e) log sigmoid(d) + e log sigmoid(-d)) / (1 - 2 e);
            `sigmoid_norm` is DPO on ratios averaged over tokens (Lambert et al. 2024, arXiv:2411.15124, section 5.1.1);
            `hinge` is SLiC's max(0, 1 - d) on DPO's margin (Zhao et al. 2023, arXiv:2305.10425);
            `ipo` is equation 17 of Azar et al. 2023 (arXiv:2310.12036) on ratios averaged over tokens, as its authors
            computed it.
        chosen_ratio, rejected_ratio: [P] log(policy / reference) of the whole answer, in nats.
        chosen_length, rejected_length: [P] tokens of each answer; an empty answer counts as one token.
        beta: strength of the pull to the reference; for `ipo` the paper's tau.
        label_smoothing: e, the share of labels held to be wrong, in [0, 0.5); of use to `sigmoid` and `robust` alone.
    """
    if loss in ("ipo", "sigmoid_norm"):
        chosen_ratio = chosen_ratio / chosen_length.clamp(min=1)
        rejected_ratio = rejected_ratio / rejected_length.clamp(min=1)
    difference = chosen_ratio - rejected_ratio
    if loss == "ipo":
        return (difference - 1 / (2 * beta)) ** 2
    margin = beta * difference
    if loss == "hinge":
        return torch.relu(1 - margin)
    right, wrong = -F.logsigmoid(margin), -F.logsigmoid(-margin)
    if loss == "robust":
        return ((1 - label_smoothing) * right - label_smoothing * wrong) / (1 - 2 * label_smoothing)
    if loss == "sigmoid" and label_smoothing:
        return (1 - label_smoothing) * right + label_smoothing * wrong
    return right
