"""What a judge said of one label, and which side that comes to.

Invariant: a side is read from verdicts that are `ok` or `tie` alone; what could not be read and what failed is None,
and no figure counts it as a preference.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.data.labels import Label, Side
from rlaif.judges.decisions import mean_preference
from rlaif.judges.verdict import Decision, Order, Status, Verdict

Outcome = Status | Literal["silent"]
"""A decision's status, or `silent` where the judge does not apply, such as an exact check without a reference."""

OUTCOMES: tuple[Outcome, ...] = ("ok", "tie", "unparsed", "error", "silent")


@dataclass(frozen=True, slots=True)
class Judged:
    """One label with what the judge said of it.

    Attributes:
        label: what people said.
        verdicts: all raw verdicts, on candidates 0 (`answer_a`) and 1 (`answer_b`).
        decision: what they come to; None where the judge was silent.
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
        """What the judge decided; None where nothing was read."""
        if self.decision is None or self.decision.status not in ("ok", "tie"):
            return None
        return "tie" if self.decision.preference is None else side_of(self.decision.preference)

    @property
    def right(self) -> bool:
        """Whether the judge decided for the answer that people prefer."""
        return self.label.human != "tie" and self.side == self.label.human

    @property
    def cluster(self) -> tuple[str, str]:
        """What labels that are no independent evidence share: the question with its context."""
        return self.label.question, self.label.context


@dataclass(frozen=True, slots=True)
class Spoken:
    """What one judge (of a panel, one member) said of one label.

    Attributes:
        label: what people said.
        verdicts: its own verdicts on it.
    """

    label: Label
    verdicts: tuple[Verdict, ...]

    def asked(self, order: Order) -> bool:
        """Whether it was asked in an order."""
        return any(verdict.order == order for verdict in self.verdicts)

    def preference(self, order: Order) -> float | None:
        """Return P(answer_a is better) in an order, a tie counting 0.5; None where nothing was read.

        Several verdicts in one order are samples of one judgment: their mean, if more than half of them could be read,
        as `rlaif.judges.decisions` has it.
        """
        verdicts = [verdict for verdict in self.verdicts if verdict.order == order]
        given = [value for value in map(_preference, verdicts) if value is not None]
        return mean_preference(given) if 2 * len(given) > len(verdicts) else None

    def side(self, order: Order) -> Side | None:
        """Return what it said in an order; None where nothing was read."""
        preference = self.preference(order)
        return None if preference is None else side_of(preference)

    @property
    def mean_preference(self) -> float | None:
        """P(answer_a is better) over the orders that were asked; None unless all of them were read."""
        orders: list[Order] = [order for order in ("ab", "ba") if self.asked(order)]
        given = [value for value in map(self.preference, orders) if value is not None]
        return mean_preference(given) if given and len(given) == len(orders) else None


def side_of(preference: float) -> Side:
    """Return the side of P(answer_a is better)."""
    return "a" if preference > 0.5 else "b" if preference < 0.5 else "tie"


def spoken(judged: Sequence[Judged], judge_sha: str) -> list[Spoken]:
    """Return what one judge said of each label, nothing at all included."""
    return [
        Spoken(item.label, tuple(verdict for verdict in item.verdicts if verdict.judge_sha == judge_sha))
        for item in judged
    ]


def speakers(judged: Iterable[Judged]) -> list[tuple[str, str]]:
    """Return the name and sha256 of each judge that spoke, in the order in which they first did."""
    return list(dict.fromkeys((verdict.judge, verdict.judge_sha) for item in judged for verdict in item.verdicts))


def _preference(verdict: Verdict) -> float | None:
    return 0.5 if verdict.status == "tie" else verdict.preference
