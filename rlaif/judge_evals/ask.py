"""Puts every label of a file to a judge.

Invariant: each label comes back once, in the file's order, with all that the judge said of it; a question that failed
comes back as an `error` verdict, never as a missing label. What is asked at once is bounded.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from rlaif.data.labels import Label
from rlaif.errors import RlaifError
from rlaif.judge_evals.outcomes import Judged
from rlaif.judges.judge import Judge

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 64
"""Questions that are asked at once; a backend may bound its own requests further."""


async def ask_all(items: Sequence[T], ask: Callable[[T], Awaitable[R]], in_flight: int = IN_FLIGHT) -> list[R]:
    """Ask something of each item, in their order and few at once, and return the answers in that order.

    Raises:
        RlaifError: the first that `ask` raises; what is on its way is cancelled.
    """
    found: dict[int, R] = {}
    waiting = iter(range(len(items)))

    async def work() -> None:
        for index in waiting:
            found[index] = await ask(items[index])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, len(items))):
                group.create_task(work())
    except* RlaifError as errors:
        # What stops one question, such as an engine that does not start, stops all alike; the first says it all.
        raise errors.exceptions[0] from None
    return [found[index] for index in range(len(items))]


async def ask_labels(
    judge: Judge,
    labels: Sequence[Label],
    told: Callable[[Judged], None] = lambda item: None,
    in_flight: int = IN_FLIGHT,
) -> list[Judged]:
    """Ask a judge for its verdict on every label.

    Labels of one question are asked one after another, so that an engine's prefix cache serves the question once.

    Args:
        judge: the judge.
        labels: what people said.
        told: called with each label that is done, in the order in which they are.
        in_flight: labels that are asked at once.

    Raises:
        RlaifError: the judge cannot go on, such as an engine that does not start or a limit on money that is reached.
    """

    async def ask(index: int) -> Judged:
        item = await ask_label(judge, labels[index])
        told(item)
        return item

    order = sorted(range(len(labels)), key=_by_question(labels).__getitem__)
    found = dict(zip(order, await ask_all(order, ask, in_flight), strict=True))
    return [found[index] for index in range(len(labels))]


async def ask_label(judge: Judge, label: Label) -> Judged:
    """Ask a judge for its verdict on one label."""
    verdicts = await judge.verdicts(label.prompt, label.answers)
    decisions = judge.decide(label.id, len(label.answers), verdicts)
    return Judged(label, tuple(verdicts), decisions[0] if decisions else None)


def _by_question(labels: Sequence[Label]) -> list[int]:
    """Return a number for each label that labels of one question share, in the order of their first."""
    numbers: dict[tuple[str, str], int] = {}
    return [numbers.setdefault((label.context, label.question), len(numbers)) for label in labels]
