"""The driver's side of the training workers: Ray Train's group, kept from one training to the next.

Starting a worker takes a Python process and some ten seconds of imports, longer than a small round's training. So the
group starts once, while the engines start, and waits for trainings.
"""

import asyncio
import tempfile
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from rlaif.background import in_background
from rlaif.cluster.resources import ResourceWait
from rlaif.errors import RlaifError, WorkError
from rlaif.progress import Progress
from rlaif.recipe import TrainersSection
from rlaif.training.job import OnStep, TrainingJob, Worker
from rlaif.training.worker import Mailbox, TaskUpdate, serve

# Ray Train replaces lost workers this often before it gives a group up.
_FAILURES = 2
_GOODBYE_SECONDS = 20.0
_NEVER = 1e9

J = TypeVar("J", bound=TrainingJob[Any])
R = TypeVar("R")


class TrainingWorkers:
    """A group of training workers; with `fewer` it starts smaller where the cluster cannot hold all of them."""

    def __init__(self, section: TrainersSection, gpu: bool, fewer: bool = False) -> None:
        self._section, self._gpu, self._fewer = section, gpu, fewer
        self._mailbox: Any = None
        self._group: asyncio.Future[None] | None = None
        self._storage: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start the workers unless they run, without waiting for them; call it in the driver's event loop."""
        if self._mailbox is None:
            self._mailbox = _start_mailbox()
        if self._group is None or self._group.done():
            if self._storage is None:
                self._storage = tempfile.TemporaryDirectory(prefix="rlaif-train-", ignore_cleanup_errors=True)
            count, storage = self._section.workers, self._storage.name
            fit = partial(_fit, count, self._mailbox, storage, gpu=self._gpu, fewer=self._fewer)
            self._group = in_background(fit, "ray-train")
            # A group that ends between two trainings is replaced at the next.
            self._group.add_done_callback(lambda group: group.cancelled() or group.exception())

    async def run(
        self,
        train: Callable[[J, Worker], R],
        job: J,
        on_step: OnStep,
        *,
        on_lost: Callable[[int], None] | None = None,
        wait: ResourceWait | None = None,
    ) -> R:
        """Run one training and return the first worker's result.

        Args:
            train: called in each worker.
            on_lost: called with the number of starts when the workers start again because one of them or its node was
                lost; the steps since the last checkpoint are then repeated.
            wait: limits how long workers whose node is lost wait for another.

        Raises:
            WorkError: the training failed, or its workers waited too long.
            OSError: a worker's disk is full.
        """
        self.start()
        await self._mailbox.give.remote(train, job)
        starts, starts_of_group = 0, 0
        while True:
            group = self._group
            assert group is not None
            ended = group.done()
            update: TaskUpdate = await self._mailbox.update.remote(0.0 if ended else 1.0)
            if update.starts > max(1, starts) and on_lost is not None:
                on_lost(update.starts)
            starts = update.starts
            for entry in update.entries:
                on_step(entry)
            if update.outcome is not None:
                if isinstance(error := update.outcome.error, RlaifError):
                    raise WorkError(f"the training failed: {error}")
                if error is not None:
                    raise error
                result: R = update.outcome.result
                return result
            if wait is not None and not update.entries and wait.over():
                wait = None  # Ray Train continues with the workers that it has.
            if ended:
                lost = group.exception()
                # Losses of an earlier training may have used up Ray Train's replacements.
                if starts > _FAILURES or starts == starts_of_group:
                    last_lines = str(lost or "").strip().splitlines() or ["its workers ended without a result"]
                    raise WorkError(f"the training failed: {last_lines[-1].strip()}") from lost
                starts_of_group = starts
                self.start()

    async def stop(self) -> None:
        """Let the workers end and release their resources."""
        import ray

        if self._mailbox is None:
            return
        await self._mailbox.close.remote()
        if self._group is not None:
            await asyncio.wait([self._group], timeout=_GOODBYE_SECONDS)
        ray.kill(self._mailbox)
        self._mailbox = self._group = None

    async def __aenter__(self) -> "TrainingWorkers":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After an error or an interrupt nobody waits for a training; the workers end with the driver.
        if kind is None:
            await self.stop()
        if self._storage is not None:
            self._storage.cleanup()


def _start_mailbox() -> Any:
    """Start the mailbox on the driver's own node, so that only the loss of the driver loses it."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(Mailbox).remote()


def _fit(workers: int, mailbox: Any, storage: str, *, gpu: bool, fewer: bool) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        serve,
        train_loop_config={"mailbox": mailbox},
        scaling_config=ScalingConfig(
            # The loss does not depend on the number of workers. A running group is never resized.
            num_workers=(1, workers) if fewer and workers > 1 else workers,
            elastic_resize_monitor_interval_s=_NEVER,
            use_gpu=gpu,
        ),
        run_config=RunConfig(
            # A name used before would silently resume that training.
            name=f"rlaif-{uuid.uuid4().hex[:12]}",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=_FAILURES),
        ),
    ).fit()


class StepProgress:
    """Shows a training: a stage `prepare` until its first step, then a stage `train` of its steps."""

    def __init__(self, progress: Progress, prepare: str, train: str) -> None:
        self._progress, self._title = progress, train
        self._training = False
        progress.stage(prepare, 1)

    def __call__(self, entry: dict[str, float]) -> None:
        if not self._training:
            self._progress.advance(1)
            self._progress.stage(self._title, int(entry["steps"]), int(entry["step"]) - 1)
            self._training = True
        figures = {name: entry[name] for name in ("loss", "margin", "accuracy", "reward", "kl") if name in entry}
        self._progress.advance(1, **figures)

    def restart(self) -> None:
        """Show the stage of steps anew with the next one: a lost worker repeats some."""
        self._training = False
