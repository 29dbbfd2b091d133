"""DPO on packs of groups: the loss and its figures, on transformers' `Trainer`.

TRL's `DPOTrainer` encodes prompt+chosen and prompt+rejected as two rows for every pair, from text, loads a reference
model and hashes all weights. Here a row is a pack of groups, as sampled token ids with their log-probabilities under
the reference policy. Optimizer, schedule, callbacks, checkpoints and logging are `Trainer`'s, as they are in TRL.

Suffixes name axes: P pairs, C candidates, A answer tokens of a pack.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rlaif.recipe import TrainingSection
from rlaif.training.dpo.losses import pair_losses, rewards
from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group, Pair
from rlaif.training.shared_prompt import PackedRow, pack_row, sums_by_candidate


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack as tensors, with its P pairs.

    Attributes:
        row: the forward pass over all C candidates.
        pairs: for messages.
        chosen, rejected: [P] int64, indices of candidates in the row.
        ref_chosen, ref_rejected: [P] float32, log-probabilities under the reference policy, in nats; NaN where the loss
            has none.
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


class GroupDPOTrainer(GroupTrainer):
    """DPO over packs of groups.

    Args:
        settings: the loss and its figures; of the others only `sft_weight`, the weight of the chosen answer's mean
            negative log-likelihood, which is added to the loss.
        rest, named: of `GroupTrainer`; the groups have their references, where the loss has a reference policy.
    """

    units = "pairs"

    def __init__(self, *rest: Any, settings: TrainingSection, **named: Any) -> None:
        self._settings = settings
        super().__init__(*rest, **named)

    def batch_of(self, groups: Sequence[Group], step_weight: float) -> Batch:
        """See `GroupTrainer`."""
        return make_batch(groups, step_weight)

    def loss_of(self, batch: Batch, logps_A: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are pairs."""
        logps_C = sums_by_candidate(batch.row, logps_A)
        losses_P = self._losses(batch, logps_C)
        ratios = (ratio_P.detach() for ratio_P in self._ratios(batch, logps_C))
        lengths = (batch.row.lengths[batch.chosen], batch.row.lengths[batch.rejected])
        chosen_P, rejected_P = (rewards(self._settings, *each) for each in zip(ratios, lengths, strict=True))
        figures = {
            "pair_loss": losses_P.detach().sum(),
            "rewards/margins": (chosen_P - rejected_P).sum(),
            "rewards/accuracies": (chosen_P > rejected_P).sum().float(),
            "rewards/chosen": chosen_P.sum(),
            "rewards/rejected": rejected_P.sum(),
        }
        return PackLoss((losses_P * batch.weights).sum(), figures, len(losses_P))

    def ids_of(self, batch: Batch, logps_A: torch.Tensor) -> list[str]:
        """See `GroupTrainer`."""
        losses_P = self._losses(batch, sums_by_candidate(batch.row, logps_A))
        losses = zip(batch.pairs, losses_P.tolist(), strict=True)
        wrong = [pair.id for pair, value in losses if not math.isfinite(value)]
        return wrong or [pair.id for pair in batch.pairs]

    def _losses(self, batch: Batch, logps_C: torch.Tensor) -> torch.Tensor:
        chosen_length_P, rejected_length_P = batch.row.lengths[batch.chosen], batch.row.lengths[batch.rejected]
        losses_P = pair_losses(
            self._settings,
            *self._ratios(batch, logps_C),
            chosen_length_P=chosen_length_P,
            rejected_length_P=rejected_length_P,
        )
        if not self._settings.sft_weight:
            return losses_P
        return losses_P - self._settings.sft_weight * logps_C[batch.chosen] / chosen_length_P.clamp(min=1)

    def _ratios(self, batch: Batch, logps_C: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ratios of the chosen and the rejected answer of each pair, as `pair_losses` takes them."""
        chosen_P, rejected_P = logps_C[batch.chosen], logps_C[batch.rejected]
        if self._settings.loss == "simpo":
            return chosen_P, rejected_P
        return chosen_P - batch.ref_chosen, rejected_P - batch.ref_rejected
