"""Which of a round's comparisons are queued for people: those whose answer would settle most, and some at random.

Invariant: the choice depends only on the seed, the candidates and the verdicts. The random ones are drawn first, from
all comparisons, so that the agreement of judge and people on them holds for the whole round.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from rlaif.data.question import Question
from rlaif.data.seeded_random import SeededRandom
from rlaif.feedback.queue import QueueItem, Why, queue_item
from rlaif.judges.judge import Comparison, Decision, Judge, Verdict, stored_verdict
from rlaif.judges.uncertainty import JudgedPair, ask_first, reason_to_ask
from rlaif.recipe import PeopleSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, VERDICTS
from rlaif.store.shards import ShardTable, joined


@dataclass(frozen=True, slots=True)
class _Judged:
    """A comparison of a round with the judge's verdicts and decision."""

    question_id: str
    comparison: Comparison
    pair: JudgedPair


def choose_comparisons(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    section: PeopleSection,
    *,
    seed: int,
    earlier: Sequence[RoundDir] = (),
) -> list[QueueItem]:
    """Return the items of the queue of a sampled and judged round.

    Args:
        questions: the train set by id.
        seed: of the recipe.
        earlier: the rounds before, whose answers are no longer new.
    """
    judged = sorted(_judged(directory, judge), key=lambda each: (each.question_id, each.comparison))
    if not judged:
        return []
    count = max(1, round(section.share * len(judged)))
    drawn = min(count, max(1, round(section.random * count))) if section.random else 0
    at_random = set(SeededRandom(f"people-{seed}-{directory.number}").some(range(len(judged)), drawn))
    others = [index for index in range(len(judged)) if index not in at_random]
    before = (pair for former in earlier for pair in _former_answers(former))
    ranked = ask_first([judged[index].pair for index in others], count - drawn, before)
    chosen = [(index, True) for index in at_random] + [(others[asked.index], False) for asked in ranked]
    return [
        _item(directory.number, questions[judged[index].question_id], judged[index], random) for index, random in chosen
    ]


def _judged(directory: RoundDir, judge: Judge) -> Iterator[_Judged]:
    """Yield every two candidates of a round whose texts differ."""
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
    for question_id, sampled, rows in joined(candidates, verdicts):
        answers = {row["candidate"]: row["text"] for row in sampled}
        given = [stored_verdict(row) for row in rows]
        decisions = {(each.first, each.second): each for each in judge.decide(question_id, len(answers), given)}
        for first, second in combinations(sorted(answers), 2):
            if answers[first] != answers[second]:
                texts = (answers[first], answers[second])
                about = list(_verdicts_on(given, first, second))
                pair = JudgedPair(texts, about, decisions.get((first, second)))
                yield _Judged(question_id, (first, second), pair)


def _verdicts_on(verdicts: Iterable[Verdict], first: int, second: int) -> Iterator[Verdict]:
    """Yield the verdicts on two candidates, as if these were the only ones."""
    for verdict in verdicts:
        if verdict.second is None and verdict.first in (first, second):
            yield replace(verdict, first=int(verdict.first == second))
        elif (verdict.first, verdict.second) == (first, second):
            yield replace(verdict, first=0, second=1)


def _former_answers(directory: RoundDir) -> Iterator[tuple[str, str]]:
    """Yield two answers to each question of a round."""
    for _, rows in ShardTable(directory.path("candidates"), CANDIDATES).by_prompt():
        texts = [row["text"] for row in rows[:2]]
        yield texts[0], texts[-1]


def _item(number: int, question: Question, judged: _Judged, random: bool) -> QueueItem:
    (first, second), (one, other) = judged.comparison, judged.pair.answers
    decision: Decision | None = judged.pair.decision
    why = Why(
        reason=reason_to_ask(judged.pair),
        status=None if decision is None or decision.status == "silent" else decision.status,
        preference=decision.preference if decision else None,
        margin=decision.margin if decision else None,
    )
    return queue_item(number, question, (first, one), (second, other), random=random, why=why)
