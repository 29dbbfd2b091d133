"""What `Trainer` does differently with a model of `shard_model`: clip, keep checkpoints, resume and save.

Invariant: a checkpoint is written by all workers, each its own shards, and read by any number of them. Nothing but the
model that is saved at the end is gathered, of an adapter the adapter alone.
"""

from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor
from transformers import Trainer

from rlaif.errors import WorkError
from rlaif.training.sharding import gathered_weights, is_sharded
from rlaif.training.trainer import SHARDED_MODEL

_OPTIMIZER = "sharded_optimizer"
_MOMENTS = "moments.pt"
# A frozen base is not in a checkpoint.
_TRAINED = StateDictOptions(ignore_frozen_params=True, strict=False)


class ShardedTrainer(Trainer):  # type: ignore[misc]
    """`Trainer` for models with and without shards; without, it changes nothing."""

    def __init__(self, *rest: Any, **named: Any) -> None:
        super().__init__(*rest, **named)
        self.sharded = is_sharded(self.model)
        if self.sharded:
            # Its workers exchange gradients already, so accelerate must not wrap it in data parallelism.
            placed = {"device_placement": False, "evaluation_mode": True}
            prepare = self.accelerator.prepare_model
            self.accelerator.prepare_model = lambda model, **_: prepare(model, **placed)

    def _clip_grad_norm(self, model: torch.nn.Module) -> torch.Tensor:
        norm = super()._clip_grad_norm(model)
        return norm.full_tensor() if isinstance(norm, DTensor) else norm

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the trained model; every worker calls, the first writes."""
        if not self.sharded:
            super().save_model(output_dir, _internal_call)
            return
        if _internal_call:
            return  # Of a checkpoint; `_save_optimizer_and_scheduler` follows.
        weights = gathered_weights(self.model)
        if self.args.should_save:
            self._save(output_dir, state_dict=weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        Path(output_dir).mkdir(parents=True, exist_ok=True)
        save(self._trained(), checkpoint_id=str(Path(output_dir, SHARDED_MODEL)))
        save(self._moments(), checkpoint_id=str(Path(output_dir, _OPTIMIZER)))
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir, "scheduler.pt"))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.sharded:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        state = self._trained()
        load(state, checkpoint_id=str(Path(resume_from_checkpoint, SHARDED_MODEL)))
        set_model_state_dict(self.model, state, options=_TRAINED)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        state = self._moments()
        load(state, checkpoint_id=str(Path(checkpoint, _OPTIMIZER)))
        set_optimizer_state_dict(self.model, self.optimizer.optimizer, state, options=_TRAINED)
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint, "scheduler.pt"), weights_only=True))

    def save_moments(self, folder: str) -> None:
        """Save what the optimizer knows of the trained weights; every worker calls."""
        if self.sharded:
            save(self._moments(), checkpoint_id=str(Path(folder, _OPTIMIZER)))
        elif self.args.should_save:
            saved = {"weights": self._optimized(), "state": self.optimizer.state_dict()["state"]}
            torch.save(saved, Path(folder, _MOMENTS))

    def load_moments(self, folder: str) -> None:
        """Take over what an optimizer of the same weights knew; this one keeps its learning rates.

        Raises:
            WorkError: it knew other weights, or workers of the other strategy wrote it.
        """
        rates = [{key: group[key] for key in ("lr", "initial_lr")} for group in self.optimizer.param_groups]
        if Path(folder, _MOMENTS).is_file() == self.sharded:
            raise WorkError(
                f"{folder}: an optimizer's state of another strategy of workers; expected the same strategy"
            )
        if self.sharded:
            state = self._moments()
            load(state, checkpoint_id=str(Path(folder, _OPTIMIZER)))
            set_optimizer_state_dict(self.model, self.optimizer.optimizer, state, options=_TRAINED)
        else:
            saved = torch.load(Path(folder, _MOMENTS), map_location="cpu", weights_only=True)
            if saved["weights"] != self._optimized():
                raise WorkError(f"{folder}: an optimizer's state of other weights; expected that of the same policy")
            self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": saved["state"]})
        for group, own in zip(self.optimizer.param_groups, rates, strict=True):
            group.update(own)

    def _optimized(self) -> list[str]:
        """Return the names of the weights in the order of the optimizer's."""
        names = {id(weight): name for name, weight in self.model.named_parameters()}
        return [names[id(weight)] for group in self.optimizer.param_groups for weight in group["params"]]

    def _trained(self) -> dict[str, Any]:
        return get_model_state_dict(self.model, options=_TRAINED)

    def _moments(self) -> dict[str, Any]:
        return get_optimizer_state_dict(self.model, self.optimizer.optimizer, options=_TRAINED)
