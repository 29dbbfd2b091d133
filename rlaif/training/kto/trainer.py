"""KTO on packs of groups: the loss, its reference point and its figures, on transformers' `Trainer`.

The loss is that of TRL's `KTOTrainer`. TRL estimates the reference point from the answers of one forward pass; here it
is that of the whole optimizer step, over all packs and workers, so that neither changes what is learned.

Suffixes name axes: C candidates, A answer tokens of a pack.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist

from rlaif.training.group_trainer import GroupTrainer, PackLoss
from rlaif.training.groups import Group, pack_in_order
from rlaif.training.kto.groups import RatedGroup, ScoredGroup
from rlaif.training.models import score_groups
from rlaif.training.shared_prompt import PackedRow, pack_row, sums_by_candidate


@dataclass(frozen=True, slots=True)
class KtoBatch:
    """One pack as tensors.

    Attributes:
        ids: of the ratings, for messages.
        signs: [C] float32, 1 for a desirable answer and -1 for an undesirable one.
        ref_logps: [C] float32, log-probabilities under the reference policy, in nats.
        weights: [C] float32, each answer's weight over `Pack.step_weight`.
        mismatched: the pack's answers after other prompts, with their log-probabilities under the reference policy.
    """

    row: PackedRow
    ids: tuple[str, ...]
    signs: torch.Tensor
    ref_logps: torch.Tensor
    weights: torch.Tensor
    mismatched: tuple[ScoredGroup, ...]


def rating_losses(ratio_C: torch.Tensor, signs_C: torch.Tensor, beta: float, reference_point: float) -> torch.Tensor:
    """Return each answer's loss, equations 7 and 8 of Ethayarajh et al. 2024 (arXiv:2402.01306) without its weight.

    It is 1 - sigmoid(beta * (ratio - z)) for a desirable answer and 1 - sigmoid(beta * (z - ratio)) for an undesirable
    one.

    Args:
        ratio_C: log(policy / reference policy) of the whole answer, in nats.
        signs_C: 1 for a desirable answer, -1 for an undesirable one.
        reference_point: the paper's z_0, an estimate of KL(policy || reference policy), in nats.
    """
    return torch.sigmoid(-beta * signs_C * (ratio_C - reference_point))


class GroupKTOTrainer(GroupTrainer):
    """KTO over packs of groups.

    Attributes:
        reference_point: that of the current step.

    Args:
        beta, desirable_weight, undesirable_weight: as of `KtoSection`.
        max_tokens: token budget of a forward pass over answers after other prompts.
        rest, named: of `GroupTrainer`; the groups have their references.
    """

    units = "ratings"

    def __init__(
        self,
        *rest: Any,
        beta: float,
        max_tokens: int,
        desirable_weight: float = 1.0,
        undesirable_weight: float = 1.0,
        **named: Any,
    ) -> None:
        self.reference_point = 0.0
        self._beta, self._max_tokens = beta, max_tokens
        self._weights = {True: desirable_weight, False: undesirable_weight}
        super().__init__(*rest, **named)

    def batch_of(self, groups: Sequence[Group], step_weight: float) -> KtoBatch:
        """See `GroupTrainer`."""
        rated = [group for group in groups if isinstance(group, RatedGroup)]
        desirable = [good for group in rated for good in group.desirable]
        weights = [weight for group in rated for weight in group.weights]
        return KtoBatch(
            row=pack_row(rated),
            ids=tuple(id for group in rated for id in group.ids),
            signs=torch.tensor([1.0 if good else -1.0 for good in desirable]),
            ref_logps=torch.tensor([logp for group in rated for logp in group.ref_logps], dtype=torch.float32),
            weights=torch.tensor(
                [self._weights[good] * weight / step_weight for good, weight in zip(desirable, weights, strict=True)]
            ),
            mismatched=tuple(group.mismatched for group in rated if group.mismatched is not None),
        )

    def before_step(self, batches: Sequence[KtoBatch]) -> None:
        """Estimate the reference point of a step: max(0, mean of log(policy / reference policy)) of the mismatched."""
        own = [scored for batch in batches for scored in batch.mismatched]
        groups = [scored.group for scored in own]
        passes = len(pack_in_order(groups, self._max_tokens))
        if dist.is_initialized():
            # Workers that share weights take part in as many passes as the others.
            most = torch.tensor([passes], device=self.args.device)
            dist.all_reduce(most, dist.ReduceOp.MAX)
            passes = int(most)
        gpu = self.args.device.type == "cuda"
        with self.compute_loss_context_manager():
            logps = score_groups(self.model, groups, self._max_tokens, gpu, passes=passes)
        ratios = [
            logp - reference
            for scored, of_group in zip(own, logps, strict=True)
            for logp, reference in zip(of_group, scored.ref_logps, strict=True)
        ]
        sums = torch.tensor([[sum(ratios), float(len(ratios))]], dtype=torch.float32, device=self.args.device)
        total, count = self.accelerator.gather(sums).sum(dim=0).tolist()
        self.reference_point = max(0.0, total / max(1.0, count))

    def loss_of(self, batch: KtoBatch, logps_A: torch.Tensor) -> PackLoss:
        """See `GroupTrainer`; the units are ratings."""
        ratio_C = sums_by_candidate(batch.row, logps_A) - batch.ref_logps
        losses_C = rating_losses(ratio_C, batch.signs, self._beta, self.reference_point)
        ahead_C = batch.signs * (ratio_C.detach() - self.reference_point)
        figures = {
            "rating_loss": losses_C.detach().sum(),
            "kl": torch.full_like(losses_C.detach(), self.reference_point).sum(),
            "rewards/margins": (self._beta * ahead_C).sum(),
            "rewards/accuracies": (ahead_C > 0).sum().float(),
        }
        return PackLoss((losses_C * batch.weights).sum(), figures, len(losses_C))

    def ids_of(self, batch: KtoBatch, logps_A: torch.Tensor) -> list[str]:
        """See `GroupTrainer`."""
        finite = torch.isfinite(sums_by_candidate(batch.row, logps_A) - batch.ref_logps).tolist()
        return [id for id, fine in zip(batch.ids, finite, strict=True) if not fine] or list(batch.ids)
