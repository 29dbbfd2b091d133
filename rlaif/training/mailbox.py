"""What the driver and the workers of a training tell each other.

Ray Train returns metrics only with a checkpoint of its own, which a round does not need, and its workers end with
their function; so the driver hands trainings in here, one after another, and finds their steps and results here.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Loop = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Task:
    """One training.

    Attributes:
        number: of the task, from 1.
        loop: called in each worker with {"job": job, "mailbox": the mailbox's handle}.
        job: what to train, as plain data.
    """

    number: int
    loop: Loop
    job: Any


@dataclass(frozen=True, slots=True)
class News:
    """What has happened in the task at hand since the driver last asked.

    Attributes:
        entries: log entries of its steps.
        starts: how often its workers have started so far.
        outcome: {"result": ...}, {"failure": ...} or {"disk_full": the file} once it is over.
    """

    entries: list[dict[str, float]] = field(default_factory=list)
    starts: int = 0
    outcome: dict[str, Any] | None = None


class Mailbox:
    """A Ray actor between the driver and the training workers."""

    def __init__(self) -> None:
        self._task: Task | None = None
        self._closed = False
        self._entries: list[dict[str, float]] = []
        self._starts = 0
        self._outcome: dict[str, Any] | None = None
        self._changed = asyncio.Condition()

    # The driver's side.

    async def give(self, loop: Loop, job: Any) -> None:
        """Hand in the next task; the one before is over."""
        async with self._changed:
            self._task = Task(self._task.number + 1 if self._task else 1, loop, job)
            self._entries, self._starts, self._outcome = [], 0, None
            self._changed.notify_all()

    async def take(self, seconds: float) -> News:
        """Return what is new, as soon as something is, or after some seconds."""
        async with self._changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: self._entries or self._outcome), seconds)
            entries, self._entries = self._entries, []
            return News(entries, self._starts, self._outcome)

    async def close(self) -> None:
        """Let the workers end."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    # The workers' side.

    async def done(self) -> int:
        """Return the number of the last task that is over, 0 before the first."""
        if self._task is None:
            return 0
        return self._task.number if self._outcome is not None else self._task.number - 1

    async def next(self, after: int) -> Task | None:
        """Return the task after the one of a number, as soon as it is there; None once there will be none."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._closed or (self._task is not None and self._task.number > after))
            return None if self._closed else self._task

    async def begin(self) -> None:
        """Tell that the workers have started the task, or started it again after one of them was lost."""
        self._starts += 1

    async def put(self, entry: dict[str, float]) -> None:
        """Leave one step's log entry."""
        async with self._changed:
            self._entries.append(entry)
            self._changed.notify_all()

    async def finish(self, outcome: dict[str, Any]) -> None:
        """Leave what the task came to; see `News`."""
        async with self._changed:
            self._outcome = outcome
            self._changed.notify_all()
