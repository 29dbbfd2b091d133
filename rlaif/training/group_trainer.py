"""transformers' `Trainer` on packs of groups: what every objective on them shares.

A row is a pack. The plan has shuffled and spread the groups already, so the trainer reads packs in order. Optimizer,
schedule, callbacks, checkpoints and logging are `Trainer`'s.

Suffixes name axes: A answer tokens of a pack.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from datasets import Dataset
from torch.utils.data import SequentialSampler

from rlaif.errors import WorkError
from rlaif.training.groups import Group, PackPlan
from rlaif.training.kernels.attention import attention_of
from rlaif.training.kernels.cpu_layers import hold_cpu_gradients, use_cpu_layers
from rlaif.training.sharded_trainer import ShardedTrainer
from rlaif.training.shared_prompt import PackedRow, TokenOutputs, moved, token_outputs


class GroupBatch(Protocol):
    """One pack as tensors; `row` is the forward pass over all its candidates."""

    @property
    def row(self) -> PackedRow: ...


@dataclass(frozen=True, slots=True)
class PackLoss:
    """What an objective makes of a pack.

    Attributes:
        loss: the pack's share of its step's loss, a scalar with a graph.
        figures: sums over the objective's units (pairs, tokens), for the log, without a graph.
        units: how many there are.
    """

    loss: torch.Tensor
    figures: Mapping[str, torch.Tensor]
    units: int


class GroupTrainer(ShardedTrainer):
    """A training on packs of groups; a subclass is its objective.

    Attributes:
        units: what the loss is a mean over, for messages.
        temperature: of the log-probabilities.
        state_in: local folder of an optimizer's state to begin with; None begins anew.

    Args:
        groups: all groups of the training.
        plan: which groups are in which pack.
        rest, named: of `Trainer`, without collator and data sets; `args.remove_unused_columns` must be off.
    """

    units: ClassVar[str]
    temperature: float = 1.0
    state_in: str | None = None

    def __init__(self, *rest: Any, groups: Sequence[Group], plan: PackPlan, **named: Any) -> None:
        self._groups, self._plan = groups, plan
        self._sums: dict[str, float] = {}
        self._units = 0
        rows = Dataset.from_dict({"pack": list(range(len(plan.packs)))})
        super().__init__(*rest, train_dataset=rows, data_collator=self._collate, **named)
        # The packs know their whole step; `Trainer` must not divide by a number of tokens.
        self.model_accepts_loss_kwargs = False
        self._attention = attention_of(self.model)
        if self.args.device.type == "cpu" and not self.sharded:
            use_cpu_layers(self.model)
            # A step of one pack sums nothing; data parallelism needs the gradients of autograd.
            if plan.accumulation > 1 and plan.workers == 1:
                hold_cpu_gradients(self.model)

    @abstractmethod
    def batch_of(self, groups: Sequence[Group], step_weight: float) -> GroupBatch:
        """Turn the groups of one pack into tensors; `step_weight` is `Pack.step_weight`."""

    @abstractmethod
    def loss_of(self, batch: Any, logps_A: torch.Tensor) -> PackLoss:
        """Return the loss of a pack from the log-probabilities of its row's targets, in nats."""

    def loss_of_outputs(self, batch: Any, outputs: TokenOutputs) -> PackLoss:
        """Return the loss of a pack; an objective with a value head needs more than the log-probabilities."""
        return self.loss_of(batch, outputs.logps)

    @abstractmethod
    def ids_of(self, batch: Any, logps_A: torch.Tensor) -> Sequence[str]:
        """Return the ids of what makes a pack's loss infinite or NaN, for a message."""

    def before_step(self, batches: Sequence[Any]) -> None:
        """Take this worker's packs of the next optimizer step before the first one's pass, on their device."""

    def get_batch_samples(self, *rest: Any, **named: Any) -> tuple[list[dict[str, GroupBatch]], Any]:
        """See `Trainer`: the packs of the next optimizer step."""
        packs, items = super().get_batch_samples(*rest, **named)
        packs = [self._prepare_inputs(pack) for pack in packs]
        if self.state_in is not None and self.state.global_step == 0:
            self.load_moments(self.state_in)  # A checkpoint has its own.
        self.before_step([pack["batch"] for pack in packs])
        return packs, items

    def _collate(self, rows: list[dict[str, int]]) -> dict[str, GroupBatch]:
        (row,) = rows
        pack = self._plan.packs[row["pack"]]
        return {"batch": self.batch_of([self._groups[index] for index in pack.groups], pack.step_weight)}

    def _get_train_sampler(self, *_: Any, **__: Any) -> SequentialSampler:
        # Each worker takes every `workers`-th pack.
        return SequentialSampler(self.train_dataset)

    def _prepare_inputs(self, inputs: dict[str, GroupBatch]) -> dict[str, GroupBatch]:
        return {"batch": moved(inputs["batch"], self.args.device)}

    def compute_loss(
        self, model: torch.nn.Module, inputs: dict[str, GroupBatch], return_outputs: bool = False, **_: Any
    ) -> torch.Tensor:
        """Return a pack's share of its step's loss, times the packs and workers that it will be divided by."""
        batch = inputs["batch"]
        outputs = token_outputs(model, batch.row, self._attention, self.temperature)
        logps_A = outputs.logps
        found = self.loss_of_outputs(batch, outputs)
        # The empty sums keep the graph whole where a pack has nothing to learn.
        loss = found.loss + 0.0 * sum(output.sum() for output in outputs if output is not None)
        if not torch.isfinite(loss):
            # Before it reaches the weights.
            ids = ", ".join(self.ids_of(batch, logps_A))
            raise WorkError(f"the loss of step {self.state.global_step + 1} is {loss.item()}; its {self.units}: {ids}")
        self._record(found, logps_A.device)
        # `Trainer` divides by the packs of a step, the gradient exchange by the workers; the weights already average.
        return loss * self._plan.accumulation * self._plan.workers

    def _record(self, found: PackLoss, device: torch.device) -> None:
        sums = torch.stack([*found.figures.values(), torch.tensor(float(found.units), device=device)])
        *everywhere, units = self.accelerator.gather(sums[None]).sum(dim=0).tolist()
        self._units += round(units)
        for name, value in zip(found.figures, everywhere, strict=True):
            self._sums[name] = self._sums.get(name, 0.0) + value

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log `Trainer`'s figures, and the objective's means over its units since the last entry."""
        if self._units:
            logs |= {name: value / self._units for name, value in self._sums.items()}
            self._sums, self._units = {}, 0
        super().log(logs, start_time)
