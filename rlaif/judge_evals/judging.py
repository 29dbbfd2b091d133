"""Asks a judge about labels, and reads the side that its verdicts decide for.

Invariant: each label is returned once, in the file's order; a failed request becomes an `error` verdict. Only `ok` and
`tie` verdicts give a side. Unreadable verdicts and errors give None, which no figure counts as a preference.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from rlaif.data.labels import Label, Side
from rlaif.errors import RlaifError
from rlaif.judges.decisions import mean_preference
from rlaif.judges.judge import Decision, Judge, Order, Status, Verdict
from rlaif.prompts.question_prompt import shown_question

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT = 64
"""Questions that are asked at once; a backend may bound its own requests further."""

Outcome = Status
"""A decision's status, or `silent` without one: an exact check cannot tell, or has no gold answer."""

OUTCOMES: tuple[Outcome, ...] = ("ok", "tie", "unparsed", "error", "silent")


@dataclass(frozen=True, slots=True)
class Errors:
    """What a figure counts against a judge although a request for it failed."""

    labels: int
    of: int
    share: float

    @classmethod
    def among(cls, labels: int, of: int) -> Self:
        """Return so many labels of a number of them."""
        return cls(labels, of, labels / of if of else 0.0)

    @property
    def note(self) -> str:
        """A sentence for beside the figure; "" without an error."""
        if not self.labels:
            return ""
        return (
            f"On {self.labels:,} of {self.of:,} labels ({100 * self.share:.1f}%) a request failed; they count as wrong."
        )


@dataclass(frozen=True, slots=True)
class JudgedLabel:
    """A label with a judge's verdicts and decision.

    Attributes:
        verdicts: all raw verdicts, on candidates 0 (`answer_a`) and 1 (`answer_b`).
        decision: what the judge decides from them; None if it is silent.
    """

    label: Label
    verdicts: tuple[Verdict, ...]
    decision: Decision | None

    @property
    def outcome(self) -> Outcome:
        """The decision's status, or `silent`."""
        return "silent" if self.decision is None else self.decision.status

    @property
    def side(self) -> Side | None:
        """The side that the judge decides for; None without a readable decision."""
        if self.decision is None or self.decision.status not in ("ok", "tie"):
            return None
        return "tie" if self.decision.preference is None else _side_of(self.decision.preference)

    @property
    def right(self) -> bool:
        """Whether the judge decides for the answer that people prefer."""
        return self.label.human != "tie" and self.side == self.label.human

    @property
    def cluster(self) -> tuple[str, str]:
        """The question with its context; labels that share both are not independent evidence."""
        return shown_question(self.label.as_question), self.label.context


@dataclass(frozen=True, slots=True)
class MemberVerdicts:
    """The verdicts of one judge on one label: those of a panel's member, or all of a judge that is not a panel."""

    label: Label
    verdicts: tuple[Verdict, ...]

    def asked(self, order: Order) -> bool:
        """Whether the judge was asked in an order."""
        return any(verdict.order == order for verdict in self.verdicts)

    def preference(self, order: Order) -> float | None:
        """Return P(answer_a is better) in an order, a tie counting 0.5; None without a readable verdict.

        Several verdicts in one order are samples of one judgment: their mean, if more than half of them are readable,
        as in `rlaif.judges.decisions`.
        """
        verdicts = [verdict for verdict in self.verdicts if verdict.order == order]
        read = [0.5 if verdict.status == "tie" else verdict.preference for verdict in verdicts]
        given = [value for value in read if value is not None]
        return mean_preference(given) if 2 * len(given) > len(verdicts) else None

    def side(self, order: Order) -> Side | None:
        """Return the preferred side in an order; None without a readable verdict."""
        preference = self.preference(order)
        return None if preference is None else _side_of(preference)

    @property
    def mean_preference(self) -> float | None:
        """P(answer_a is better) over the orders that were asked; None unless all of them are readable."""
        orders: list[Order] = [order for order in ("ab", "ba") if self.asked(order)]
        given = [value for value in map(self.preference, orders) if value is not None]
        return mean_preference(given) if given and len(given) == len(orders) else None


def _side_of(preference: float) -> Side:
    return "a" if preference > 0.5 else "b" if preference < 0.5 else "tie"


def verdicts_by_member(judged: Sequence[JudgedLabel]) -> dict[tuple[str, str], list[MemberVerdicts]]:
    """Return each judge's verdicts on every label, by its name and sha256; a label may have none."""
    members = dict.fromkeys((verdict.judge, verdict.judge_sha) for item in judged for verdict in item.verdicts)
    return {
        (name, sha): [
            MemberVerdicts(item.label, tuple(verdict for verdict in item.verdicts if verdict.judge_sha == sha))
            for item in judged
        ]
        for name, sha in members
    }


def decide_label(judge: Judge, label: Label, verdicts: Sequence[Verdict]) -> JudgedLabel:
    """Return a label with verdicts on it and what the judge decides from them."""
    decisions = judge.decide(label.id, len(label.answers), verdicts)
    return JudgedLabel(label, tuple(verdicts), decisions[0] if decisions else None)


async def judge_label(judge: Judge, label: Label) -> JudgedLabel:
    """Ask a judge about one label."""
    return decide_label(judge, label, await judge.verdicts(label.as_question, label.answers))


async def judge_labels(
    judge: Judge,
    labels: Sequence[Label],
    on_judged: Callable[[JudgedLabel], None] = lambda item: None,
    in_flight: int = IN_FLIGHT,
) -> list[JudgedLabel]:
    """Ask a judge about every label, and call `on_judged` with each as soon as it is judged.

    Labels of one question are asked one after another, so that an engine's prefix cache serves the question once.

    Raises:
        RlaifError: the judge cannot go on: an engine does not start, or the limit on money is reached.
    """

    async def work(index: int) -> JudgedLabel:
        judged = await judge_label(judge, labels[index])
        on_judged(judged)
        return judged

    # The questions, numbered by their first labels.
    numbers: dict[tuple[str, str], int] = {}
    shown = [(label.context, shown_question(label.as_question)) for label in labels]
    keys = [numbers.setdefault(question, len(numbers)) for question in shown]
    order = sorted(range(len(labels)), key=keys.__getitem__)
    judged = dict(zip(order, await map_bounded(order, work, in_flight), strict=True))
    return [judged[index] for index in range(len(labels))]


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
