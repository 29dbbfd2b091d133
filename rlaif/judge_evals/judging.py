"""Asks a judge about every label of a file, a bounded number at a time.

Invariant: each label is returned once, in the file's order; a failed request becomes an `error` verdict.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from rlaif.data.labels import Label
from rlaif.errors import RlaifError
from rlaif.judge_evals.judged_labels import JudgedLabel, decide_label
from rlaif.judges.judge import Judge

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 64
"""Questions that are asked at once; a backend may bound its own requests further."""


async def map_bounded(items: Sequence[T], work: Callable[[T], Awaitable[R]], in_flight: int = IN_FLIGHT) -> list[R]:
    """Await `work` for each item, started in order and at most `in_flight` at a time; return the results in order.

    Raises:
        RlaifError: the first that `work` raises; the other calls are cancelled.
    """
    results: dict[int, R] = {}
    indices = iter(range(len(items)))

    async def worker() -> None:
        for index in indices:
            results[index] = await work(items[index])

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, len(items))):
                group.create_task(worker())
    except* RlaifError as errors:
        # An error such as an engine that does not start stops all questions alike, so the first is enough.
        raise errors.exceptions[0] from None
    return [results[index] for index in range(len(items))]


async def judge_labels(
    judge: Judge,
    labels: Sequence[Label],
    on_judged: Callable[[JudgedLabel], None] = lambda item: None,
    in_flight: int = IN_FLIGHT,
) -> list[JudgedLabel]:
    """Ask a judge about every label.

    Labels of one question are asked one after another, so that an engine's prefix cache serves the question once.

    Args:
        on_judged: called with each label as soon as it is judged.
        in_flight: most labels that are asked at once.

    Raises:
        RlaifError: the judge cannot go on: an engine does not start, or the limit on money is reached.
    """

    async def work(index: int) -> JudgedLabel:
        judged = await judge_label(judge, labels[index])
        on_judged(judged)
        return judged

    # The questions, numbered by their first labels.
    numbers: dict[tuple[str, str], int] = {}
    keys = [numbers.setdefault((label.context, label.question), len(numbers)) for label in labels]
    order = sorted(range(len(labels)), key=keys.__getitem__)
    judged = dict(zip(order, await map_bounded(order, work, in_flight), strict=True))
    return [judged[index] for index in range(len(labels))]


async def judge_label(judge: Judge, label: Label) -> JudgedLabel:
    """Ask a judge about one label."""
    return decide_label(judge, label, await judge.verdicts(label.as_question, label.answers))
