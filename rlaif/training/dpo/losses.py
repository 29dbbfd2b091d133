"""The losses of direct preference optimization.

Each is TRL's loss of the same name, formula for formula; `sigmoid` also takes a label smoothing, which TRL's ignores.
The suffix P marks a value for each pair.
"""

from typing import Literal

import torch
import torch.nn.functional as F

LossName = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"]


def pair_losses(
    loss: LossName,
    chosen_ratio_P: torch.Tensor,
    rejected_ratio_P: torch.Tensor,
    beta: float,
    *,
    chosen_length_P: torch.Tensor,
    rejected_length_P: torch.Tensor,
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
        chosen_ratio_P, rejected_ratio_P: log(policy / reference policy) of the whole answer, in nats.
        beta: strength of the pull to the reference policy; for `ipo` the paper's tau.
        chosen_length_P, rejected_length_P: tokens of each answer; an empty answer counts as one token.
        label_smoothing: e, the assumed share of wrong preferences, in [0, 0.5); only `sigmoid` and `robust` use it.

    Returns:
        [P], one value a pair.
    """
    if loss in ("ipo", "sigmoid_norm"):
        chosen_ratio_P = chosen_ratio_P / chosen_length_P.clamp(min=1)
        rejected_ratio_P = rejected_ratio_P / rejected_length_P.clamp(min=1)
    difference_P = chosen_ratio_P - rejected_ratio_P
    if loss == "ipo":
        return (difference_P - 1 / (2 * beta)) ** 2
    margin_P = beta * difference_P
    if loss == "hinge":
        return torch.relu(1 - margin_P)
    right_P, wrong_P = -F.logsigmoid(margin_P), -F.logsigmoid(-margin_P)
    if loss == "robust":
        return ((1 - label_smoothing) * right_P - label_smoothing * wrong_P) / (1 - 2 * label_smoothing)
    if loss == "sigmoid" and label_smoothing:
        return (1 - label_smoothing) * right_P + label_smoothing * wrong_P
    return right_P
