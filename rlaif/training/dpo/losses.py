"""The losses of preference pairs.

Each loss is TRL's of the same name, formula for formula: `DPOTrainer`'s, and `CPOTrainer`'s of `simpo`. `sigmoid` also
takes a label smoothing, which TRL's ignores.

Suffix P names the axis of pairs.
"""

import torch
import torch.nn.functional as F

from rlaif.recipe import PER_TOKEN_LOSSES, TrainingSection

SIMPO_GAMMA = 0.5
"""Default of `training.simpo_gamma`."""


def pair_losses(
    settings: TrainingSection,
    chosen_ratio_P: torch.Tensor,
    rejected_ratio_P: torch.Tensor,
    *,
    chosen_length_P: torch.Tensor,
    rejected_length_P: torch.Tensor,
) -> torch.Tensor:
    """Return each pair's loss.

    With d = beta * (chosen_ratio - rejected_ratio) and e = `label_smoothing`:

    - `sigmoid` is DPO, equation 7 of Rafailov et al. 2023 (arXiv:2305.18290), -log sigmoid(d); with e > 0 its
      conservative form, -(1 - e) log sigmoid(d) - e log sigmoid(-d) (Mitchell 2023, "A note on DPO with noisy
      preferences").
    - `robust` is that form made unbiased, equation 12 of Chowdhury et al. 2024 (arXiv:2403.00409):
      (-(1 - e) log sigmoid(d) + e log sigmoid(-d)) / (1 - 2 e).
    - `sigmoid_norm` is DPO on ratios averaged over tokens (Lambert et al. 2024, arXiv:2411.15124, section 5.1.1).
    - `hinge` is SLiC's max(0, 1 - d) on DPO's margin (Zhao et al. 2023, arXiv:2305.10425).
    - `ipo` is equation 17 of Azar et al. 2023 (arXiv:2310.12036) on ratios averaged over tokens, as its authors
      computed it.
    - `simpo` is equation 6 of Meng et al. 2024 (arXiv:2405.14734), -log sigmoid(d - gamma) on log-probabilities
      averaged over tokens.

    With `length_penalty` alpha, the reward that the policy learns is an answer's less alpha for each of its tokens. Its
    optimal policy makes the margin d + alpha * (chosen_length - rejected_length) (R-DPO, Park et al. 2024,
    arXiv:2403.19159).

    Args:
        chosen_ratio_P, rejected_ratio_P: log(policy / reference policy) of the whole answer, in nats; for `simpo`,
            which has no reference policy, log(policy).
        chosen_length_P, rejected_length_P: tokens of each answer; an empty answer counts as one token.

    Returns:
        [P], one value a pair.
    """
    loss, smoothing = settings.loss, settings.label_smoothing
    if loss in PER_TOKEN_LOSSES:
        chosen_ratio_P = chosen_ratio_P / chosen_length_P.clamp(min=1)
        rejected_ratio_P = rejected_ratio_P / rejected_length_P.clamp(min=1)
    difference_P = chosen_ratio_P - rejected_ratio_P
    if loss == "ipo":
        return (difference_P - 1 / (2 * settings.beta)) ** 2
    margin_P = settings.beta * difference_P + settings.length_penalty * (chosen_length_P - rejected_length_P)
    if loss == "simpo":
        margin_P = margin_P - (SIMPO_GAMMA if settings.simpo_gamma is None else settings.simpo_gamma)
    if loss == "hinge":
        return torch.relu(1 - margin_P)
    right_P, wrong_P = -F.logsigmoid(margin_P), -F.logsigmoid(-margin_P)
    if loss == "robust":
        return ((1 - smoothing) * right_P - smoothing * wrong_P) / (1 - 2 * smoothing)
    return (1 - smoothing) * right_P + smoothing * wrong_P if smoothing else right_P


def rewards(settings: TrainingSection, ratio_P: torch.Tensor, length_P: torch.Tensor) -> torch.Tensor:
    """Return each answer's implicit reward for the log, as TRL logs it: [P]. Arguments are as of `pair_losses`."""
    return settings.beta * (ratio_P / length_P.clamp(min=1) if settings.loss == "simpo" else ratio_P)
