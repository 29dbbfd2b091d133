"""What all trainers share: their arguments, their steps' log, and a run from the last checkpoint."""

import time
from pathlib import Path
from typing import Any

import torch.distributed as dist
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers.trainer import TRAINER_STATE_NAME

from rlaif.io.files import fetch_tree, filesystem, is_url, join, names, put_tree, read_bytes, write_bytes
from rlaif.models.dtype import bfloat16_passes
from rlaif.training.groups import PackPlan
from rlaif.training.job import TrainingJob, Worker

# The names in a step's log entry, and where the trainers log them.
_LOGGED = {
    "step": ("step",),
    "loss": ("loss",),
    "margin": ("rewards/margins", "margin"),
    "accuracy": ("rewards/accuracies", "accuracy"),
    "reward": ("reward",),
    "kl": ("kl",),
    "ratio": ("ratio",),
    "clipped": ("clipped",),
    "importance": ("importance",),
    "value_loss": ("value_loss",),
    "grad_norm": ("grad_norm",),
    "lr": ("learning_rate",),
}
_MARK = "complete"
KEPT_CHECKPOINTS = 2
# The folder of a checkpoint with the weights of a sharded model.
SHARDED_MODEL = "sharded_model"


def trainer_arguments(kind: type, job: TrainingJob[Any], folder: str, *, steps: int, **own: Any) -> Any:
    """Return the arguments of a trainer.

    Args:
        kind: their class, such as `TrainingArguments`.
        folder: where the trainer writes.
        steps: optimizer steps in all.
        own: arguments of the objective.
    """
    settings = job.settings
    return kind(
        output_dir=folder,
        seed=job.seed,
        learning_rate=settings.learning_rate,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(settings.schedule, settings.schedule),
        # In whole steps, rounded down: a training of a few steps cannot afford one at a rate of zero.
        warmup_steps=int(settings.warmup * steps),
        max_grad_norm=settings.max_grad_norm,
        weight_decay=settings.weight_decay,
        gradient_checkpointing=settings.gradient_checkpointing,
        # A sharded model brings its own precision.
        bf16=bfloat16_passes(job.start.dtype, job.gpu) and not job.sharded,
        use_cpu=not job.gpu,
        ddp_find_unused_parameters=False,
        dataloader_pin_memory=job.gpu,
        logging_steps=1,
        save_strategy="steps" if job.checkpoints else "no",
        report_to=[],
        disable_tqdm=True,
        **own,
    )


def pack_arguments(job: TrainingJob[Any], plan: PackPlan, folder: str) -> Any:
    """Return the arguments of a training on packs, whose settings have `checkpoint_steps`."""
    return trainer_arguments(
        TrainingArguments,
        job,
        folder,
        steps=plan.steps,
        num_train_epochs=1,  # The plan holds all epochs.
        per_device_train_batch_size=1,  # A row is a pack.
        gradient_accumulation_steps=plan.accumulation,
        remove_unused_columns=False,
        save_steps=job.settings.checkpoint_steps or 500,
        save_total_limit=KEPT_CHECKPOINTS,
    )


def fit(trainer: Any, checkpoint: str | None = None) -> float:
    """Train to the end, from a checkpoint where there is one, and return the seconds."""
    trainer.remove_callback(PrinterCallback)  # The steps' log goes to the driver.
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=checkpoint)
    return time.monotonic() - started


def step_entries(trainer: Any) -> list[dict[str, float]]:
    """Return the entries of all steps that a trainer has taken."""
    return [_entry(logged) for logged in trainer.state.log_history if "loss" in logged]


def _entry(logged: dict[str, Any]) -> dict[str, float]:
    return {name: float(logged[key]) for name, keys in _LOGGED.items() for key in keys if key in logged}


class StepLog(TrainerCallback):  # type: ignore[misc]
    """Passes each step's entry on to the driver, with the number of all `steps` in it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        if self._worker.on_step is not None and logs and "loss" in logs:
            self._worker.on_step({**_entry({**logs, "step": state.global_step}), "steps": state.max_steps})


class Checkpoints(TrainerCallback):  # type: ignore[misc]
    """The checkpoints of one training, in the run's own storage: a file system or an object store.

    On a file system that all nodes share, the trainer writes there itself. For an object store each worker copies its
    files, and then the first one marks the checkpoint complete; a checkpoint without the mark is ignored.

    Args:
        path: directory or fsspec URL in the run; None keeps none.
        scratch: a folder of this worker alone.
        rank: of this worker.
        sharded: whether the workers share one model; a checkpoint of the other kind is ignored.
    """

    def __init__(self, path: str | None, scratch: str, rank: int, *, sharded: bool = False) -> None:
        self._url = path if path is not None and is_url(path) else None
        self._rank, self._sharded = rank, sharded
        self.folder = scratch if self._url is not None or path is None else path
        """Where the trainer writes."""

    def last(self) -> str | None:
        """Return the folder of the last complete checkpoint, fetched from an object store; None without one."""
        if self._url is not None:
            self._fetch(self._url)
        found = [path for path in Path(self.folder).glob("checkpoint-*") if self._usable(path)]
        return str(max(found, key=lambda path: int(path.name.removeprefix("checkpoint-")))) if found else None

    def _usable(self, checkpoint: Path) -> bool:
        # The trainer writes its state last; a kill in between leaves a checkpoint without it.
        written = (checkpoint / TRAINER_STATE_NAME).is_file()
        return written and (checkpoint / SHARDED_MODEL).is_dir() == self._sharded

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Copy the checkpoint that the trainer has written to an object store."""
        if self._url is None:
            return
        name = _name(state.global_step)
        url = join(self._url, name)
        put_tree(str(Path(self.folder, name)), url)
        if dist.is_initialized():
            dist.barrier()
        if self._rank == 0:
            write_bytes(join(url, _MARK), b"")
            system = filesystem(self._url)[0]
            for old in _complete(self._url)[:-KEPT_CHECKPOINTS]:
                system.rm(filesystem(join(self._url, _name(old)))[1], recursive=True)

    def _fetch(self, url: str) -> None:
        if complete := _complete(url):
            name = _name(complete[-1])
            fetch_tree(join(url, name), Path(self.folder, name))


def _complete(url: str) -> list[int]:
    """Return the steps of the complete checkpoints, in order."""
    steps = [int(name.removeprefix("checkpoint-")) for name in names(url) if name.startswith("checkpoint-")]
    return [step for step in sorted(steps) if read_bytes(join(url, _name(step), _MARK)) is not None]


def _name(step: int) -> str:
    return f"checkpoint-{step}"
