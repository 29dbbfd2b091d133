"""Preference pairs of one question, from verdicts.

Invariant: only a decision of status `ok` becomes a pair. Ties, unreadable verdicts and errors are counted, and none is
read as a preference or a score.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Decision, Judge, Verdict
from rlaif.recipe import PairsSection
from rlaif.store.records.round_records import error_share


@dataclass
class PairCounts:
    """Counts over the questions that were paired.

    Attributes:
        prompts: questions with at least one pair.
        below_margin: decided comparisons that `pairs.min_margin` left out.
        by_status: comparisons by the status of their decision; `silent` without one, if the judge could not tell.
        by_judge: pairs by the judge that decided.
    """

    prompts: int = 0
    pairs: int = 0
    below_margin: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_judge: Counter[str] = field(default_factory=Counter)

    @property
    def statuses(self) -> str:
        """The comparisons by status, in words."""
        counts = [f"{count:,} {status}" for status, count in sorted(self.by_status.items())]
        if self.by_status["error"]:
            counts.append(f"errors on {100 * error_share(self.by_status):.1f}% of the comparisons, which make no pairs")
        return ", ".join(counts)


def pair_id(*parts: object) -> str:
    """Return the id of a pair: a hash of the parts that identify it, so that the same pair always has the same id."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def choose(decisions: Sequence[Decision], section: PairsSection) -> list[Decision]:
    """Return the decisions on one question that become pairs, widest margins first."""
    usable = [
        decision
        for decision in decisions
        if decision.status == "ok" and decision.margin is not None and decision.margin >= section.min_margin
    ]
    usable.sort(key=lambda decision: (-(decision.margin or 0.0), decision.first, decision.second))
    limit = 1 if section.per_question == "best-worst" else section.max_per_question
    return usable[:limit]


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
) -> list[dict[str, Any]]:
    """Return the rows of `pairs.parquet` for one question.

    Args:
        answers: the candidates' texts by index.
        messages: the chat that asks the question.
        section: which decisions become pairs.
        source_columns: given the indices of the chosen and the rejected candidate, returns `pair_id` and the columns
            that depend on where the candidates come from.
        counts: added to.
    """
    decisions = judge.decide(question.id, len(answers), verdicts)
    counts.by_status.update(decision.status for decision in decisions)
    if silent := _undecided(answers, verdicts, decisions):
        counts.by_status["silent"] += silent
    counts.below_margin += sum(
        decision.status == "ok" and (decision.margin or 0.0) < section.min_margin for decision in decisions
    )
    rows = []
    for decision in choose(decisions, section):
        first_wins = (decision.preference or 0.0) > 0.5
        chosen, rejected = (decision.first, decision.second) if first_wins else (decision.second, decision.first)
        scores = {decision.first: decision.score_first, decision.second: decision.score_second}
        counts.by_judge[decision.judge] += 1
        rows.append(
            {
                **source_columns(chosen, rejected),
                "prompt": messages,
                "chosen": [{"role": "assistant", "content": answers[chosen]}],
                "rejected": [{"role": "assistant", "content": answers[rejected]}],
                "prompt_id": question.id,
                "chosen_candidate": chosen,
                "rejected_candidate": rejected,
                "score_chosen": scores[chosen],
                "score_rejected": scores[rejected],
                "margin": decision.margin,
                "source": "ai",
                "judge": decision.judge,
                "judge_sha": decision.judge_sha,
            }
        )
    counts.pairs += len(rows)
    counts.prompts += bool(rows)
    return rows


def _undecided(answers: Mapping[int, str], verdicts: Sequence[Verdict], decisions: Sequence[Decision]) -> int:
    """Return the number of comparisons without a decision of an answer on which a judge was silent."""
    silent = {verdict.first for verdict in verdicts if verdict.status == "silent"}
    decided = {(decision.first, decision.second) for decision in decisions}
    return sum(pair not in decided and not silent.isdisjoint(pair) for pair in combinations(sorted(answers), 2))
