"""How a round waits for people's labels.

Invariant: waiting changes nothing. It may end at any moment, and the next start waits for what is left of the time.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from rlaif.background import in_background
from rlaif.feedback.labels import LabelLines, PersonLabel, answered_items, current_labels, read_label_lines
from rlaif.feedback.queue import QueueItem
from rlaif.io.files import is_url
from rlaif.progress import Progress
from rlaif.store.rundir import RoundDir

# Seconds between two looks at the label file; an object store charges for each.
_EVERY, _EVERY_IN_A_STORE = 1.0, 10.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


async def await_labels(
    directory: RoundDir,
    items: Sequence[QueueItem],
    *,
    since: str,
    wait: float,
    how: str,
    progress: Progress,
    clock: Callable[[], datetime] = _utc_now,
    every: float | None = None,
) -> list[PersonLabel]:
    """Wait until each comparison of a queue has a label of somebody, or the time is over; returns all valid labels.

    Each line of the label file that is wrong is reported once.

    Args:
        since: when the queue was written, ISO 8601.
        wait: seconds from then.
        how: tells a person how to answer, such as a command.
        every: seconds between two looks at the file; by default it depends on where the file is.
    """
    until = _end(since, wait)
    ids = {item.id for item in items}
    pause = every or (_EVERY_IN_A_STORE if is_url(directory.root) else _EVERY)
    lines, reported = await _read(directory, ids), 0
    answered = len(answered_items(current_labels(lines.labels)))
    waits = answered < len(items) and clock() < until
    if waits:
        limit = f"until {until:%Y-%m-%d %H:%M} UTC" if until < _FOREVER else "without a limit"
        left = len(items) - answered
        progress.say(f"round {directory.number}: {left} comparisons wait for people, {limit}: {how}")
        progress.stage(f"round {directory.number}: wait for people", len(items), answered)
    while True:
        for fault in lines.faults[reported:]:
            progress.say(f"{fault}; the line does not count")
        reported = len(lines.faults)
        if answered >= len(items) or clock() >= until:
            break
        await asyncio.sleep(min(pause, max(0.0, (until - clock()).total_seconds())))
        lines = await _read(directory, ids)
        before, answered = answered, len(answered_items(current_labels(lines.labels)))
        if answered > before:
            progress.advance(answered - before)
    if waits and answered < len(items):
        progress.say(f"round {directory.number}: goes on without people on {len(items) - answered} comparisons")
    return lines.labels


_FOREVER = datetime.max.replace(tzinfo=UTC)


def _end(since: str, wait: float) -> datetime:
    try:
        return datetime.fromisoformat(since) + timedelta(seconds=wait)
    except OverflowError:
        return _FOREVER


async def _read(directory: RoundDir, ids: set[str]) -> LabelLines:
    return await in_background(lambda: read_label_lines(directory, ids), "labels")
