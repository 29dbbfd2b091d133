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
from datasets import Dataset
from torch.utils.data import SequentialSampler

from rlaif.errors import WorkError
from rlaif.training.groups import Group, PackPlan, Pair
from rlaif.training.kernels.attention import attention_of
from rlaif.training.kernels.cpu_layers import hold_cpu_gradients, use_cpu_layers
from rlaif.training.sharded_trainer import ShardedTrainer
from rlaif.training.shared_prompt import PackedRow, candidate_logps, moved, pack_row

LossName = Literal["sigmoid", "sigmoid_norm", "ipo", "hinge", "robust"]
# Sums over pairs between two log entries; the last is the number of pairs.
_SUMS = 6


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


class GroupDPOTrainer(ShardedTrainer):
    """DPO over packs of groups.

    Args:
        groups: all groups of the training, with their references.
        plan: which groups are in which pack.
        loss, label_smoothing: as of `pair_losses`.
        sft_weight: weight of the chosen answer's mean negative log-likelihood, added to the loss.
        beta: of `pair_losses`.
        rest, named: of `Trainer`, without collator and data sets; `args.remove_unused_columns` must be off.
    """

    def __init__(
        self,
        *rest: Any,
        groups: Sequence[Group],
        plan: PackPlan,
        loss: LossName,
        beta: float,
        label_smoothing: float = 0.0,
        sft_weight: float = 0.0,
        **named: Any,
    ) -> None:
        self._groups, self._plan = groups, plan
        self.beta = beta
        self._loss, self._label_smoothing, self._sft_weight = loss, label_smoothing, sft_weight
        self._sums = [0.0] * _SUMS
        rows = Dataset.from_dict({"pack": list(range(len(plan.packs)))})
        super().__init__(*rest, train_dataset=rows, data_collator=self._collate, **named)
        # The weights of the pairs average over a step; `Trainer` must not divide by a number of tokens.
        self.model_accepts_loss_kwargs = False
        self._attention = attention_of(self.model)
        if self.args.device.type == "cpu" and not self.sharded:
            use_cpu_layers(self.model)
            # A step of one pack sums nothing; data parallelism needs the gradients of autograd.
            if plan.accumulation > 1 and plan.workers == 1:
                hold_cpu_gradients(self.model)

    def _collate(self, rows: list[dict[str, int]]) -> dict[str, Batch]:
        (row,) = rows
        pack = self._plan.packs[row["pack"]]
        return {"batch": make_batch([self._groups[index] for index in pack.groups], pack.step_weight)}

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        # The plan has shuffled already; each worker takes every `workers`-th pack.
        return SequentialSampler(self.train_dataset)

    def _prepare_inputs(self, inputs: dict[str, Batch]) -> dict[str, Batch]:
        return {"batch": moved(inputs["batch"], self.args.device)}

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, Batch], return_outputs: bool = False, **_: Any
    ) -> torch.Tensor:
        """Return a pack's share of its step's loss, times the packs and workers that it will be divided by."""
        batch = inputs["batch"]
        logps_C = candidate_logps(model, batch.row, self._attention)
        chosen_P, rejected_P = logps_C[batch.chosen], logps_C[batch.rejected]
        chosen_length_P, rejected_length_P = batch.row.lengths[batch.chosen], batch.row.lengths[batch.rejected]
        ratios = chosen_P - batch.ref_chosen, rejected_P - batch.ref_rejected
        losses_P = pair_losses(
            self._loss,
            *ratios,
            self.beta,
            chosen_length_P=chosen_length_P,
            rejected_length_P=rejected_length_P,
            label_smoothing=self._label_smoothing,
        )
        if self._sft_weight:
            losses_P = losses_P - self._sft_weight * chosen_P / chosen_length_P.clamp(min=1)
        # The empty sum keeps the graph whole where a pack has no pairs.
        loss = (losses_P * batch.weights).sum() + 0.0 * logps_C.sum()
        self._check(loss, losses_P, batch)
        self._record(losses_P, *ratios)
        # `Trainer` divides by the packs of a step, the gradient exchange by the workers; the weights already average.
        return loss * self._plan.accumulation * self._plan.workers

    def _check(self, loss: torch.Tensor, losses_P: torch.Tensor, batch: Batch) -> None:
        """Stop before a loss that is not finite reaches the weights."""
        if torch.isfinite(loss):
            return
        losses = zip(batch.pairs, losses_P.tolist(), strict=True)
        wrong = [pair for pair, value in losses if not math.isfinite(value)]
        ids = ", ".join(pair.id for pair in wrong or batch.pairs)
        raise WorkError(f"the loss of step {self.state.global_step + 1} is {loss.item()}; its pairs: {ids}")

    def _record(self, losses_P: torch.Tensor, chosen_P: torch.Tensor, rejected_P: torch.Tensor) -> None:
        chosen_P, rejected_P = chosen_P.detach(), rejected_P.detach()
        sums = [
            losses_P.detach().sum(),
            (self.beta * (chosen_P - rejected_P)).sum(),
            (chosen_P > rejected_P).sum().float(),
            (self.beta * chosen_P).sum(),
            (self.beta * rejected_P).sum(),
            torch.tensor(float(len(losses_P)), device=losses_P.device),
        ]
        everywhere = self.accelerator.gather(torch.stack(sums)[None]).sum(dim=0).tolist()
        self._sums = [old + new for old, new in zip(self._sums, everywhere, strict=True)]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log `Trainer`'s figures, and the means over the pairs since the last entry."""
        if pairs := self._sums[-1]:
            names = ("pair_loss", "rewards/margins", "rewards/accuracies", "rewards/chosen", "rewards/rejected")
            logs |= {name: value / pairs for name, value in zip(names, self._sums, strict=False)}
            self._sums = [0.0] * _SUMS
        super().log(logs, start_time)
