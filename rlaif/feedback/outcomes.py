"""What the labels of a round's queue come to: the decisions of people, and how far the judge agrees with them.

Invariant: a comparison is decided by more than half of the people who answered it; `skip` is no answer. A tie and both
bad together are a tie. Without such a majority people decide nothing, and the judge's decision stays.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

from rlaif.feedback.labels import PersonLabel, answered_items, current_labels
from rlaif.feedback.queue import QueueItem
from rlaif.judges.judge import Comparison
from rlaif.preferences.pairs import PeopleDecision
from rlaif.stats.bootstrap import Estimate, estimates, ratio
from rlaif.store.records.people_record import PeopleRecord

PeopleDecisions = dict[str, dict[Comparison, PeopleDecision]]
"""What people decided, by question and candidates."""


def people_decisions(items: Sequence[QueueItem], labels: Sequence[PersonLabel]) -> PeopleDecisions:
    """Return the decisions of people on the candidates of a round, from the valid lines of its label file."""
    current = current_labels(labels)
    found: PeopleDecisions = {}
    for item in items:
        if decision := _majority(current.get(item.id, {})):
            found.setdefault(item.prompt_id, {})[item.first, item.second] = decision
    return found


def people_record(
    record: PeopleRecord, items: Sequence[QueueItem], labels: Sequence[PersonLabel], *, ended: str, seed: int
) -> PeopleRecord:
    """Return the record of a queue with what came of it; `seed` is of the interval."""
    current = current_labels(labels)
    decisions = {item.id: _majority(current.get(item.id, {})) for item in items}
    answered = answered_items(current)
    outcomes = Counter(_outcome(decisions[item.id]) for item in items if item.id in answered)
    given = [label for by_person in current.values() for label in by_person.values()]
    return record.model_copy(
        update={
            "ended": ended,
            "answered": len(answered),
            "outcomes": dict(sorted(outcomes.items())),
            "labels": dict(sorted(Counter(label.who for label in given).items())),
            "demonstrations": sum(bool(label.demonstration) for label in given),
            "agreement": _agreement(items, decisions, seed),
        }
    )


def _majority(by_person: Mapping[str, PersonLabel]) -> PeopleDecision | None:
    """Return the decision of one comparison's labels, or None."""
    answers = {who: label.label for who, label in by_person.items() if label.label is not None}
    votes = {who: answer for who, answer in answers.items() if answer != "skip"}
    for answer, count in Counter(votes.values()).most_common(1):
        if 2 * count > len(votes):
            return PeopleDecision(answer, tuple(sorted(who for who, own in votes.items() if own == answer)))
    # Some say that they tie and some that both are bad: all of these prefer neither.
    neither = sorted(who for who, own in votes.items() if own in ("tie", "both_bad"))
    return PeopleDecision("tie", tuple(neither)) if 2 * len(neither) > len(votes) else None


def _outcome(decision: PeopleDecision | None) -> str:
    return "undecided" if decision is None else decision.outcome


def _agreement(
    items: Sequence[QueueItem], decisions: Mapping[str, PeopleDecision | None], seed: int
) -> Estimate | None:
    """Return the judge's agreement with people on the random comparisons on which they prefer an answer.

    The interval is a bootstrap over questions.
    """
    drawn = [
        (item, decision.outcome)
        for item in items
        if item.random and (decision := decisions[item.id]) and decision.outcome in ("first", "second")
    ]
    if not drawn:
        return None
    right = [
        float(item.why.preference is not None and (item.why.preference > 0.5) == (outcome == "first"))
        for item, outcome in drawn
    ]
    return estimates([ratio(right, [1.0] * len(right))], [item.prompt_id for item, _ in drawn], seed=seed)[0]
