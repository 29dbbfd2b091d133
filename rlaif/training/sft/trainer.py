"""Supervised fine-tuning on packs of groups: the mean negative log-likelihood of a step's learned tokens.

The loss is that of transformers' `Trainer` and of TRL's `SFTTrainer`: the sum over the learned tokens of a whole step,
over all packs and workers, divided by their number.

Suffixes name axes: C candidates, A answer tokens of a pack.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group
from rlaif.training.shared_prompt import PackedRow, pack_row, sums_by_candidate


@dataclass(frozen=True, slots=True)
class SftBatch:
    """One pack as tensors.

    Attributes:
        step_tokens: learned tokens of the pack's whole step.
        ids: of the demonstrations, for messages.
    """

    row: PackedRow
    step_tokens: float
    ids: tuple[str, ...]


class GroupSFTTrainer(GroupTrainer):
    """Supervised fine-tuning over packs of groups; see `GroupTrainer`."""

    units = "demonstrations"

    def batch_of(self, groups: Sequence[Group], step_weight: float) -> SftBatch:
        """See `GroupTrainer`."""
        return SftBatch(pack_row(groups), step_weight, tuple(id for group in groups for id in group.ids))

    def loss_of(self, batch: SftBatch, logps_A: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are learned tokens."""
        nll = -logps_A.sum()
        return PackLoss(nll / batch.step_tokens, {"nll": nll.detach()}, len(batch.row.targets))

    def ids_of(self, batch: SftBatch, logps_A: torch.Tensor) -> list[str]:
        """See `GroupTrainer`."""
        finite = torch.isfinite(sums_by_candidate(batch.row, logps_A)).tolist()
        return [id for id, fine in zip(batch.ids, finite, strict=True) if not fine] or list(batch.ids)
