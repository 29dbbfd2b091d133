"""The workers of a training: processes of Ray Train that take one training after another from the driver's mailbox.

Ray Train returns metrics only with a checkpoint of its own, and its workers end with their function. So the driver
hands in its trainings in the mailbox, and collects their steps and results there.

Invariant: the first worker leaves exactly one outcome for each task that it ends. An error that a person can act on is
an outcome; every other exception ends the worker, and Ray Train starts another.
"""

import asyncio
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from rlaif.errors import RlaifError, is_disk_full
from rlaif.training.host_memory import trim
from rlaif.training.job import TrainingJob, Worker

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Task:
    """A training, numbered from 1: each worker calls `train(job, worker)`."""

    number: int
    train: Callable[[TrainingJob[Any], Worker], Any]
    job: TrainingJob[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: with what `Task.train` returned, or with an error that a person can act on."""

    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """The log entries since the last update, how often the task's workers have started, and its outcome at the end."""

    entries: list[dict[str, float]]
    starts: int
    outcome: Outcome | None


class Mailbox:
    """A Ray actor between the driver and the training workers."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._closed = False
        self._entries: list[dict[str, float]] = []
        self._starts = 0
        self._outcome: Outcome | None = None
        self._changed = asyncio.Condition()

    # The driver's side.

    async def give(self, train: Callable[..., Any], job: TrainingJob[Any]) -> None:
        """Hand in the next task; the one before is over."""
        async with self._changed:
            self._task = Task(self._task.number + 1 if self._task else 1, train, job)
            self._entries, self._starts, self._outcome = [], 0, None
            self._changed.notify_all()

    async def update(self, seconds: float) -> TaskUpdate:
        """Return an update as soon as there is one, or after some seconds."""
        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self._entries or self._outcome), seconds)
            entries, self._entries = self._entries, []
            return TaskUpdate(entries, self._starts, self._outcome)

    async def close(self) -> None:
        """Let the workers end."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    # The workers' side.

    async def done(self) -> int:
        """Return the number of the last finished task, 0 before the first."""
        if self._task is None:
            return 0
        return self._task.number if self._outcome is not None else self._task.number - 1

    async def next(self, after: int) -> Task | None:
        """Wait for the task after a number; None once the mailbox is closed."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or (self._task is not None and self._task.number > after))
            return None if self._closed else self._task

    async def begin(self) -> None:
        """Count a start of the task's workers; a second one means that a worker was lost."""
        self._starts += 1

    async def put(self, entry: dict[str, float]) -> None:
        async with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    async def finish(self, outcome: Outcome) -> None:
        async with self._changed:
            self._outcome = outcome
            self._changed.notify_all()


def serve(config: dict[str, Any]) -> None:
    """Work on the tasks of the mailbox `config["mailbox"]` until it is closed."""
    import ray

    mailbox = config["mailbox"]
    # Every training needs these; imported before there is one.
    import peft  # noqa: F401
    from transformers import Trainer  # noqa: F401

    # A worker that replaces a lost one starts with the task that was lost.
    done = ray.get(mailbox.done.remote())
    while (task := ray.get(mailbox.next.remote(done))) is not None:
        _work_on(task, mailbox)
        done = task.number
        _release_memory()


def _work_on(task: Task, mailbox: Any) -> None:
    import ray.train

    context = ray.train.get_context()
    first = context.get_world_rank() == 0
    if first:
        ray.get(mailbox.begin.remote())
    if not task.job.gpu:
        set_threads(task.job.workers.threads, context.get_local_world_size())
    worker = Worker(context.get_world_rank(), context.get_world_size(), mailbox.put.remote if first else None)
    try:
        result = task.train(task.job, worker)
    except (RlaifError, OSError) as error:
        if isinstance(error, OSError) and not is_disk_full(error):
            raise
        ray.get(mailbox.finish.remote(Outcome(error=error)))
        return
    if first:
        ray.get(mailbox.finish.remote(Outcome(result)))


def set_threads(threads: int | None, sharers: int = 1) -> None:
    """Set torch's threads; None gives this process a fair share of the node's cores among its `sharers`."""
    import torch

    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // sharers))


async def run_once(function: Callable[[], R], *, gpu: bool) -> R:
    """Run a function in one Ray task, with a GPU where the trainer has them: the driver's node may lack one."""
    import ray

    task = ray.remote(num_cpus=1 if gpu else 0, num_gpus=1 if gpu else 0)(lambda: function())
    result: R = await task.remote()
    return result


def _release_memory() -> None:
    """Return a training's memory to the system; the engines may need it until the next one."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    trim()
