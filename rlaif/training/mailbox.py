"""What the driver and the workers of a training exchange.

Ray Train returns metrics only with a checkpoint of its own, and its workers end with their function. So the driver
hands in one training after another here, and collects their steps and results here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rlaif.training.job import TrainingJob, Worker


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
            with contextlib.suppress(TimeoutError):
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
        """Leave one step's log entry."""
        async with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    async def finish(self, outcome: Outcome) -> None:
        """Leave the task's outcome."""
        async with self._changed:
            self._outcome = outcome
            self._changed.notify_all()
