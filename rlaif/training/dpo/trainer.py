"""DPO on packs of groups: the loss and its figures, on transformers' `Trainer`.

TRL's `DPOTrainer` encodes prompt+chosen and prompt+rejected as two rows for every pair, from text, loads a reference
model and hashes all weights. Here a row is a pack of groups, as sampled token ids with their log-probabilities under
the reference policy. Optimizer, schedule, callbacks, checkpoints and logging are `Trainer`'s, as they are in TRL.

Suffixes name axes: P pairs, A answer tokens of a pack.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from rlaif.recipe import TrainingSection
from rlaif.training.dpo.batch import Batch, answer_logps, make_batch
from rlaif.training.dpo.losses import pair_losses, rewards
from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group
from rlaif.training.shared_prompt import sums_by_candidate


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
        losses_P = self._losses(batch, logps_A)
        ratios = (ratio_P.detach() for ratio_P in self._ratios(batch, logps_A))
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
        losses = zip(batch.pairs, self._losses(batch, logps_A).tolist(), strict=True)
        wrong = [pair.id for pair, value in losses if not math.isfinite(value)]
        return wrong or [pair.id for pair in batch.pairs]

    def _losses(self, batch: Batch, logps_A: torch.Tensor) -> torch.Tensor:
        chosen_length_P, rejected_length_P = batch.row.lengths[batch.chosen], batch.row.lengths[batch.rejected]
        losses_P = pair_losses(
            self._settings,
            *self._ratios(batch, logps_A),
            chosen_length_P=chosen_length_P,
            rejected_length_P=rejected_length_P,
        )
        if not self._settings.sft_weight:
            return losses_P
        logps_P = sums_by_candidate(batch.row, logps_A)[batch.chosen]
        return losses_P - self._settings.sft_weight * logps_P / chosen_length_P.clamp(min=1)

    def _ratios(self, batch: Batch, logps_A: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the ratios of the chosen and the rejected answer of each pair, as `pair_losses` takes them."""
        chosen_P, rejected_P = answer_logps(batch, logps_A, self._settings.ld_alpha)
        if self._settings.loss == "simpo":
            return chosen_P, rejected_P
        return chosen_P - batch.ref_chosen, rejected_P - batch.ref_rejected
