"""Policy gradients on packs of groups: GRPO and RLOO, on transformers' `Trainer`.

A step's loss is the mean over all of its tokens or answers, over all packs and workers.

Suffixes name axes: A answer tokens, C candidates of a pack.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from rlaif.recipe import GrpoSection, PolicyGradientSection, RlooSection
from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group
from rlaif.training.policy_gradient.losses import TokenLosses, clipped_losses, divergence, grpo_losses
from rlaif.training.policy_gradient.rollouts import RolloutGroup
from rlaif.training.shared_prompt import PackedRow, pack_row, sums_by_candidate


@dataclass(frozen=True, slots=True)
class RolloutBatch:
    """One pack as tensors.

    Attributes:
        step_weight: see `Pack`.
        ids: of the answers, for messages.
        rewards: [C].
        old, advantages: [A]; see `RolloutGroup`.
        importance: [A] or, of whole answers, [C]: weight for the difference of the policy before the training from
            what sampled.
        reference, values, returns: [A]; see `RolloutGroup`; empty where nothing needs them.
    """

    row: PackedRow
    step_weight: float
    ids: tuple[str, ...]
    rewards: torch.Tensor
    old: torch.Tensor
    advantages: torch.Tensor
    importance: torch.Tensor
    reference: torch.Tensor
    values: torch.Tensor
    returns: torch.Tensor


class GroupPolicyTrainer(GroupTrainer):
    """A policy gradient over packs of groups; a subclass has the losses.

    Args:
        section: the settings.
        temperature: at which the answers were sampled.
        rest, named: of `GroupTrainer`; the groups are `RolloutGroup`s that are ready to train on.
    """

    units = "answers"

    def __init__(self, *rest: Any, section: Any, temperature: float = 1.0, **named: Any) -> None:
        self.section, self.temperature = section, temperature
        super().__init__(*rest, **named)

    def batch_of(self, groups: Sequence[Group], step_weight: float) -> RolloutBatch:
        """See `GroupTrainer`."""
        rollouts = cast(Sequence[RolloutGroup], groups)
        row = pack_row(groups)
        return RolloutBatch(
            row=row,
            step_weight=step_weight,
            ids=tuple(id for group in groups for id in group.ids),
            rewards=_joined(rollouts, "rewards_C"),
            old=_joined(rollouts, "old_A"),
            advantages=_joined(rollouts, "advantages_A"),
            importance=self.importance(row, _joined(rollouts, "mismatch_A")),
            reference=_joined(rollouts, "reference_A"),
            values=_joined(rollouts, "values_A"),
            returns=_joined(rollouts, "returns_A"),
        )

    def importance(self, row: PackedRow, log_ratios: torch.Tensor) -> torch.Tensor:
        """Return truncated importance weights of [A] log-ratios; ones where none are wanted."""
        most = self.section.max_importance
        return log_ratios.exp().clamp(max=most) if most is not None else torch.ones_like(log_ratios)

    def ids_of(self, batch: RolloutBatch, logps_A: torch.Tensor) -> list[str]:
        """See `GroupTrainer`."""
        finite = torch.isfinite(sums_by_candidate(batch.row, logps_A)).tolist()
        return [id for id, fine in zip(batch.ids, finite, strict=True) if not fine] or list(batch.ids)

    def figures(self, batch: RolloutBatch, logps_A: torch.Tensor, found: TokenLosses) -> Mapping[str, torch.Tensor]:
        """Return the sums over answers of their reward, and of what is the mean over an answer's tokens."""
        by_token = {"ratio": found.ratios, "clipped": found.clipped, "importance": batch.importance}
        if self.section.kl:
            by_token["kl"] = divergence(logps_A.detach(), batch.reference)
        means = {name: self._summed(batch.row, values) for name, values in by_token.items()}
        return {"reward": batch.rewards.sum(), **means}

    def _summed(self, row: PackedRow, values: torch.Tensor) -> torch.Tensor:
        if values.shape == row.owner.shape:
            return (sums_by_candidate(row, values) / row.lengths.clamp(min=1)).sum()
        return values.sum()


class GroupGRPOTrainer(GroupPolicyTrainer):
    """GRPO and its corrections; see `GrpoSection`."""

    section: GrpoSection

    def loss_of(self, batch: RolloutBatch, logps_A: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are answers."""
        found = grpo_losses(logps_A, batch.old, batch.advantages, batch.row, self.section)
        losses_A = found.losses * batch.importance
        if self.section.kl:
            losses_A = losses_A + self.section.kl * divergence(logps_A, batch.reference)
        total = losses_A.sum() if self.section.average != "answers" else self._summed(batch.row, losses_A)
        return PackLoss(total / batch.step_weight, self.figures(batch, logps_A, found), len(batch.ids))


class GroupRLOOTrainer(GroupPolicyTrainer):
    """RLOO: the ratio, the clips and the importance weight are of whole answers."""

    section: RlooSection

    def importance(self, row: PackedRow, log_ratios: torch.Tensor) -> torch.Tensor:
        """Return a weight for each answer."""
        return super().importance(row, sums_by_candidate(row, log_ratios))

    def loss_of(self, batch: RolloutBatch, logps_A: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are answers."""
        log_ratios_C = sums_by_candidate(batch.row, logps_A - batch.old)
        advantages_C = sums_by_candidate(batch.row, batch.advantages) / batch.row.lengths.clamp(min=1)
        found = clipped_losses(log_ratios_C, advantages_C, self.section)
        loss = (found.losses * batch.importance).sum() / batch.step_weight
        return PackLoss(loss, self.figures(batch, logps_A, found), len(batch.ids))


def _joined(groups: Sequence[RolloutGroup], name: str) -> torch.Tensor:
    """Return an attribute of all groups, one after the other."""
    return torch.from_numpy(np.concatenate([np.zeros(0, np.float32), *(getattr(group, name) for group in groups)]))


def step_weights(
    groups: Sequence[Group], steps: Sequence[Sequence[int]], section: PolicyGradientSection
) -> list[float]:
    """Return what each step divides its sums by: its tokens, its answers, or its answers times a number of tokens."""
    answers = [float(sum(len(groups[index].candidates) for index in step)) for step in steps]
    if isinstance(section, RlooSection):
        return answers
    if isinstance(section, GrpoSection) and section.average != "tokens":
        return [count * (section.answer_tokens or 1) for count in answers]
    return [float(sum(groups[index].counted_tokens for index in step)) for step in steps]
