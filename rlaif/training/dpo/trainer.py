"""DPO on packs of groups: the loss and its figures, on transformers' `Trainer`.

TRL's `DPOTrainer` encodes prompt+chosen and prompt+rejected as two rows for every pair, from text, loads a reference
model and hashes all weights. Here a row is a pack of groups, as sampled token ids with their log-probabilities under
the reference policy. Optimizer, schedule, callbacks, checkpoints and logging are `Trainer`'s, as they are in TRL.

Each loss is TRL's of the same name, formula for formula; `sigmoid` also takes a label smoothing, which TRL's ignores.

Suffixes name axes: P pairs, C candidates of a pack.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F

from rlaif.training.dpo.mismatch import PER_TOKEN
from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group, Pair
from rlaif.training.shared_prompt import PackedRow, pack_row

LossName = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"]


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack as tensors, with its P pairs.

    Attributes:
        row: the forward pass over all C candidates.
        pairs: for messages.
        chosen, rejected: [P] int64, indices of candidates in the row.
        ref_chosen, ref_rejected: [P] float32, log-probabilities under the reference policy, in nats.
        weights: [P] float32, each pair's weight over `Pack.step_weight`.
    """

    row: PackedRow
    pairs: tuple[Pair, ...]
    chosen: torch.Tensor
    rejected: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    weights: torch.Tensor


def make_batch(groups: Sequence[Group], step_weight: float) -> Batch:
    """Turn the groups of one pack into tensors; `step_weight` is `Pack.step_weight`."""
    pairs: list[Pair] = []
    chosen: list[int] = []
    rejected: list[int] = []
    first = 0
    for group in groups:
        pairs += group.pairs
        chosen += [first + pair.chosen for pair in group.pairs]
        rejected += [first + pair.rejected for pair in group.pairs]
        first += len(group.candidates)
    return Batch(
        row=pack_row(groups),
        pairs=tuple(pairs),
        chosen=torch.tensor(chosen, dtype=torch.long),
        rejected=torch.tensor(rejected, dtype=torch.long),
        ref_chosen=torch.tensor([pair.ref_chosen_logp for pair in pairs], dtype=torch.float32),
        ref_rejected=torch.tensor([pair.ref_rejected_logp for pair in pairs], dtype=torch.float32),
        weights=torch.tensor([pair.weight / step_weight for pair in pairs], dtype=torch.float32),
    )


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
    if loss in PER_TOKEN:
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


class GroupDPOTrainer(GroupTrainer):
    """DPO over packs of groups.

    Args:
        loss, label_smoothing, beta: as of `pair_losses`.
        sft_weight: weight of the chosen answer's mean negative log-likelihood, added to the loss.
        rest, named: of `GroupTrainer`; the groups have their references.
    """

    units = "pairs"

    def __init__(
        self,
        *rest: Any,
        loss: LossName,
        beta: float,
        label_smoothing: float = 0.0,
        sft_weight: float = 0.0,
        **named: Any,
    ) -> None:
        self.beta = beta
        self._loss, self._label_smoothing, self._sft_weight = loss, label_smoothing, sft_weight
        super().__init__(*rest, **named)

    def batch_of(self, groups: Sequence[Group], step_weight: float) -> Batch:
        """See `GroupTrainer`."""
        return make_batch(groups, step_weight)

    def loss_of(self, batch: Batch, logps_C: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are pairs."""
        losses_P = self._losses(batch, logps_C)
        chosen_P, rejected_P = (ratio.detach() for ratio in _ratios(batch, logps_C))
        figures = {
            "pair_loss": losses_P.detach().sum(),
            "rewards/margins": (self.beta * (chosen_P - rejected_P)).sum(),
            "rewards/accuracies": (chosen_P > rejected_P).sum().float(),
            "rewards/chosen": (self.beta * chosen_P).sum(),
            "rewards/rejected": (self.beta * rejected_P).sum(),
        }
        return PackLoss((losses_P * batch.weights).sum(), figures, len(losses_P))

    def ids_of(self, batch: Batch, logps_C: torch.Tensor) -> list[str]:
        """See `GroupTrainer`."""
        losses = zip(batch.pairs, self._losses(batch, logps_C).tolist(), strict=True)
        wrong = [pair.id for pair, value in losses if not math.isfinite(value)]
        return wrong or [pair.id for pair in batch.pairs]

    def _losses(self, batch: Batch, logps_C: torch.Tensor) -> torch.Tensor:
        chosen_length_P, rejected_length_P = batch.row.lengths[batch.chosen], batch.row.lengths[batch.rejected]
        losses_P = pair_losses(
            self._loss,
            *_ratios(batch, logps_C),
            self.beta,
            chosen_length_P=chosen_length_P,
            rejected_length_P=rejected_length_P,
            label_smoothing=self._label_smoothing,
        )
        if not self._sft_weight:
            return losses_P
        return losses_P - self._sft_weight * logps_C[batch.chosen] / chosen_length_P.clamp(min=1)


def _ratios(batch: Batch, logps_C: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return log(policy / reference policy) of the chosen and the rejected answer of each pair."""
    return logps_C[batch.chosen] - batch.ref_chosen, logps_C[batch.rejected] - batch.ref_rejected
