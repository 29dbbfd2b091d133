"""A label with a judge's verdicts on it, and the side that they decide for.

Invariant: only `ok` and `tie` verdicts give a side. Unreadable verdicts and errors give None, which no figure counts as
a preference.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.data.labels import Label, Side
from rlaif.judges.decisions import mean_preference
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Decision, Order, Status, Verdict

Outcome = Status | Literal["silent"]
"""A decision's status, or `silent` if the judge does not apply, such as an exact check without a gold answer."""

OUTCOMES: tuple[Outcome, ...] = ("ok", "tie", "unparsed", "error", "silent")


@dataclass(frozen=True, slots=True)
class JudgedLabel:
    """A label with a judge's verdicts and decision.

    Attributes:
        label: the comparison that people decided.
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
        return "tie" if self.decision.preference is None else side_of(self.decision.preference)

    @property
    def right(self) -> bool:
        """Whether the judge decides for the answer that people prefer."""
        return self.label.human != "tie" and self.side == self.label.human

    @property
    def cluster(self) -> tuple[str, str]:
        """The question with its context; labels that share both are not independent evidence."""
        return self.label.question, self.label.context


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
        return None if preference is None else side_of(preference)

    @property
    def mean_preference(self) -> float | None:
        """P(answer_a is better) over the orders that were asked; None unless all of them are readable."""
        orders: list[Order] = [order for order in ("ab", "ba") if self.asked(order)]
        given = [value for value in map(self.preference, orders) if value is not None]
        return mean_preference(given) if given and len(given) == len(orders) else None


def decide_label(judge: Judge, label: Label, verdicts: Sequence[Verdict]) -> JudgedLabel:
    """Return a label with verdicts on it and what the judge decides from them."""
    decisions = judge.decide(label.id, len(label.answers), verdicts)
    return JudgedLabel(label, tuple(verdicts), decisions[0] if decisions else None)


def side_of(preference: float) -> Side:
    """Return the side of P(answer_a is better)."""
    return "a" if preference > 0.5 else "b" if preference < 0.5 else "tie"


def member_verdicts(judged: Sequence[JudgedLabel], judge_sha: str) -> list[MemberVerdicts]:
    """Return one judge's verdicts on each label; a label may have none."""
    return [
        MemberVerdicts(item.label, tuple(verdict for verdict in item.verdicts if verdict.judge_sha == judge_sha))
        for item in judged
    ]


def members_of(judged: Iterable[JudgedLabel]) -> list[tuple[str, str]]:
    """Return the name and sha256 of each judge with a verdict, in the order of their first verdicts."""
    return list(dict.fromkeys((verdict.judge, verdict.judge_sha) for item in judged for verdict in item.verdicts))
