"""Preference pairs of one question, from verdicts and from what people decided.

Invariant: only a decision of status `ok` becomes a pair. Ties, unreadable verdicts and errors are counted, and none is
read as a preference or a score. So are the decisions that `pairs.truncated` leaves out. Where people decided a
comparison, the judge's decision on it does not count.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Comparison, Decision, Judge, Verdict
from rlaif.recipe import PairsSection
from rlaif.store.records.round_records import error_share

PEOPLE = "people"
"""The name beside those of judges in counts of who decided."""


@dataclass(frozen=True, slots=True)
class PeopleDecision:
    """What people decided of two candidates: which is better, or that neither is. `by` names those who say so."""

    outcome: Literal["first", "second", "tie", "both_bad"]
    by: tuple[str, ...]


@dataclass
class PairCounts:
    """Counts over the questions that were paired.

    Attributes:
        prompts: questions with at least one pair.
        below_margin: decided comparisons that `pairs.min_margin` left out.
        truncated: decided comparisons, none below the margin, that `pairs.truncated` left out.
        candidates, cut: candidates of all questions, and those that were cut at the longest length.
        by_status: comparisons by the status of their decision; `silent` without one, if the judge could not tell.
        by_judge: pairs by the judge that decided, or `PEOPLE`.
        by_people: comparisons that people decided, by the outcome.
        preferences: pairs of files of people's preferences; they are counted in `pairs` too.
    """

    prompts: int = 0
    pairs: int = 0
    below_margin: int = 0
    truncated: int = 0
    candidates: int = 0
    cut: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_judge: Counter[str] = field(default_factory=Counter)
    by_people: Counter[str] = field(default_factory=Counter)
    preferences: int = 0

    @property
    def statuses(self) -> str:
        """The comparisons by status, in words."""
        counts = [f"{count:,} {status}" for status, count in sorted(self.by_status.items())]
        if self.by_status["error"]:
            counts.append(f"errors on {100 * error_share(self.by_status):.1f}% of the comparisons, which make no pairs")
        if self.truncated:
            counts.append(f"{self.truncated:,} left out by pairs.truncated, of answers cut by length")
        if self.by_people:
            counts.append(f"{self.by_people.total():,} decided by people")
        if self.preferences:
            counts.append(f"{self.preferences:,} pairs of feedback.preferences")
        return ", ".join(counts)

    @property
    def advice(self) -> str | None:
        """What to do where most candidates were cut and decisions were left out for it; else None."""
        if not self.truncated or 2 * self.cut < self.candidates:
            return None
        share = f"{self.cut:,} of {self.candidates:,} candidates were cut by length"
        return f"{share}: raise sampling.max_tokens, ask for shorter answers, or set pairs.truncated: allow"


def pair_id(*parts: object) -> str:
    """Return the id of a pair: a hash of the parts that identify it, so that the same pair always has the same id."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def choose(
    decisions: Sequence[Decision],
    section: PairsSection,
    *,
    cut: Collection[int] = (),
    counts: PairCounts | None = None,
    before: int = 0,
) -> list[Decision]:
    """Return the decisions on one question that become pairs, widest margins first.

    Args:
        cut: the candidates that were cut at the longest length.
        counts: added to for what the section leaves out.
        before: pairs that the question already has.
    """
    counts = counts or PairCounts()
    decided = [decision for decision in decisions if decision.status == "ok" and decision.margin is not None]
    wide = [decision for decision in decided if (decision.margin or 0.0) >= section.min_margin]
    usable = [decision for decision in wide if not _is_truncated(*_sides(decision), section, cut)]
    counts.below_margin += len(decided) - len(wide)
    counts.truncated += len(wide) - len(usable)
    usable.sort(key=lambda decision: (-(decision.margin or 0.0), decision.first, decision.second))
    limit = _limit(section)
    return usable if limit is None else usable[: max(0, limit - before)]


def _limit(section: PairsSection) -> int | None:
    """Return the most pairs of a question; None is all."""
    return 1 if section.per_question == "best-worst" else section.max_per_question


def _is_truncated(chosen: int, rejected: int, section: PairsSection, cut: Collection[int]) -> bool:
    """Return whether `pairs.truncated` leaves out a pair."""
    if section.truncated == "allow":
        return False
    return chosen in cut or (section.truncated == "leave_out" and rejected in cut)


def _sides(decision: Decision) -> tuple[int, int]:
    """Return the candidate that a decision prefers, and the other one."""
    first_wins = (decision.preference or 0.0) > 0.5
    return (decision.first, decision.second) if first_wins else (decision.second, decision.first)


def pair_rows(
    question: Question,
    answers: Mapping[int, str],
    verdicts: Sequence[Verdict],
    messages: Messages,
    *,
    judge: Judge,
    section: PairsSection,
    source_columns: Callable[[int, int], dict[str, Any]],
    counts: PairCounts,
    cut: Collection[int] = (),
    people: Mapping[Comparison, PeopleDecision] | None = None,
) -> list[dict[str, Any]]:
    """Return the rows of `pairs.parquet` for one question.

    Args:
        answers: the candidates' texts by index.
        messages: the chat that asks the question.
        section: which decisions become pairs.
        source_columns: given the indices of the chosen and the rejected candidate, returns `pair_id` and the columns
            that depend on where the candidates come from.
        counts: added to.
        cut: indices of the candidates that were cut at the longest length.
        people: what people decided. Their pairs come before the judge's, and a margin does not count.
    """
    people = people or {}
    counts.candidates += len(answers)
    counts.cut += len(cut)
    decisions = judge.decide(question.id, len(answers), verdicts)
    counts.by_status.update(decision.status for decision in decisions)
    if silent := _undecided(answers, verdicts, decisions):
        counts.by_status["silent"] += silent
    counts.by_people.update(decision.outcome for decision in people.values())
    rows = []
    for (chosen, rejected), by in _preferred(people, section, cut, counts):
        counts.by_judge[PEOPLE] += 1
        provenance = {"source": "human", "labelled_by": list(by), "judge": None, "judge_sha": None, "margin": None}
        rows.append((chosen, rejected, provenance | {"score_chosen": None, "score_rejected": None}))
    left = [decision for decision in decisions if (decision.first, decision.second) not in people]
    for decision in choose(left, section, cut=cut, counts=counts, before=len(rows)):
        counts.by_judge[decision.judge] += 1
        rows.append((*_sides(decision), _judged_columns(decision)))
    counts.pairs += len(rows)
    counts.prompts += bool(rows)
    return [
        {
            **source_columns(chosen, rejected),
            "prompt": messages,
            "chosen": [{"role": "assistant", "content": answers[chosen]}],
            "rejected": [{"role": "assistant", "content": answers[rejected]}],
            "prompt_id": question.id,
            "chosen_candidate": chosen,
            "rejected_candidate": rejected,
            "chunks": question.chunk_ids,
            **provenance,
        }
        for chosen, rejected, provenance in rows
    ]


def _judged_columns(decision: Decision) -> dict[str, Any]:
    """Return the columns of a judge's pair that say how it was decided."""
    chosen, rejected = _sides(decision)
    scores = {decision.first: decision.score_first, decision.second: decision.score_second}
    return {
        "score_chosen": scores[chosen],
        "score_rejected": scores[rejected],
        "margin": decision.margin,
        "source": "ai",
        "judge": decision.judge,
        "judge_sha": decision.judge_sha,
        "labelled_by": None,
    }


def _preferred(
    people: Mapping[Comparison, PeopleDecision], section: PairsSection, cut: Collection[int], counts: PairCounts
) -> list[tuple[Comparison, tuple[str, ...]]]:
    """Return the chosen and the rejected candidate of people's pairs, with who says so, by candidate."""
    found = []
    for (first, second), decision in sorted(people.items()):
        if decision.outcome not in ("first", "second"):
            continue
        sides = (first, second) if decision.outcome == "first" else (second, first)
        if _is_truncated(*sides, section, cut):
            counts.truncated += 1
        else:
            found.append((sides, decision.by))
    return found[: _limit(section)]


def _undecided(answers: Mapping[int, str], verdicts: Sequence[Verdict], decisions: Sequence[Decision]) -> int:
    """Return the number of comparisons without a decision of an answer on which a judge was silent."""
    silent = {verdict.first for verdict in verdicts if verdict.status == "silent"}
    decided = {(decision.first, decision.second) for decision in decisions}
    return sum(pair not in decided and not silent.isdisjoint(pair) for pair in combinations(sorted(answers), 2))
