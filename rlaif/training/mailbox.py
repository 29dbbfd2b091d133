"""What the driver and the workers of a training exchange.

Ray Train returns metrics only with a checkpoint of its own, and its workers end with their function. So the driver
hands in one training after another here, and collects their steps and results here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rlaif.training.job import TrainingJob, Worker


@dataclass(frozen=True, slots=True)
class Task:
    """One training.

    Attributes:
        number: of the task, from 1.
        train: called in each worker; the first worker's result is the task's.
        job: what to train.
    """

    number: int
    train: Callable[[TrainingJob[Any], Worker], Any]
    job: TrainingJob[Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended: exactly one field is set.

    Attributes:
        result: what `Task.train` returned.
        failure: an error that a person can act on.
        full_disk: the file that found its disk full.
    """

    result: Any = None
    failure: str | None = None
    full_disk: str | None = None


@dataclass(frozen=True, slots=True)
class TaskUpdate:
    """What happened in the current task since the driver last asked.

    Attributes:
        entries: log entries of its steps.
        starts: how often its workers have started so far.
        outcome: set once the task is over.
    """

    entries: list[dict[str, float]] = field(default_factory=list)
    starts: int = 0
    outcome: Outcome | None = None


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
        """Return what is new as soon as something is, or after some seconds."""
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
