"""From verdicts to preference pairs.

Invariant: only a decision whose status is `ok` becomes a pair. A tie, an answer that could not be read and an error
are counted and shown; none is ever read as a preference, and none as a score.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Decision, Verdict
from rlaif.recipe import PairsSection


@dataclass
class PairCounts:
    """What the pairing of a round saw.

    Attributes:
        prompts: prompts with at least one pair.
        pairs: pairs.
        by_status: comparisons by the status of their decision.
        by_judge: pairs by the judge that decided.
        below_margin: decided comparisons that `pairs.min_margin` left out.
    """

    prompts: int = 0
    pairs: int = 0
    below_margin: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_judge: Counter[str] = field(default_factory=Counter)


def pair_id(round_number: int, prompt_id: str, chosen: int, rejected: int) -> str:
    """Return a pair's id: the same for the same candidates of the same round, however often the run was killed."""
    key = f"{round_number}\0{prompt_id}\0{chosen}\0{rejected}"
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def choose(decisions: Sequence[Decision], section: PairsSection) -> list[Decision]:
    """Return the decisions on one prompt that become pairs, widest margins first."""
    usable = [
        decision
        for decision in decisions
        if decision.status == "ok" and decision.margin is not None and decision.margin >= section.min_margin
    ]
    usable.sort(key=lambda decision: (-(decision.margin or 0.0), decision.first, decision.second))
    limit = 1 if section.per_question == "best-worst" else section.max_per_question
    return usable[:limit]


def pair_rows(
    prompt: Question,
    candidates: Sequence[dict[str, Any]],
    verdicts: Sequence[Verdict],
    *,
    judge: Judge,
    section: PairsSection,
    render: Callable[[Question], Messages],
    round_number: int,
    counts: PairCounts,
) -> list[dict[str, Any]]:
    """Return the rows of `pairs.parquet` for one prompt.

    Args:
        prompt: the question.
        candidates: its rows of the candidates table.
        verdicts: all verdicts on it.
        judge: decides what the verdicts come to.
        section: which decisions become pairs.
        render: gives the chat that the policy was asked.
        round_number: of the round that sampled.
        counts: added to.
    """
    by_index = {row["candidate"]: row for row in candidates}
    decisions = judge.decide(prompt.id, len(candidates), verdicts)
    counts.by_status.update(decision.status for decision in decisions)
    counts.below_margin += sum(
        decision.status == "ok" and (decision.margin or 0.0) < section.min_margin for decision in decisions
    )
    rows = []
    for decision in choose(decisions, section):
        if decision.preference is None:
            continue
        first_wins = decision.preference > 0.5
        winner, loser = (decision.first, decision.second) if first_wins else (decision.second, decision.first)
        scores = (decision.score_first, decision.score_second)
        chosen, rejected = by_index[winner], by_index[loser]
        counts.by_judge[decision.judge] += 1
        rows.append(
            {
                "pair_id": pair_id(round_number, prompt.id, winner, loser),
                "prompt": render(prompt),
                "chosen": [{"role": "assistant", "content": chosen["text"]}],
                "rejected": [{"role": "assistant", "content": rejected["text"]}],
                "prompt_id": prompt.id,
                "chosen_candidate": winner,
                "rejected_candidate": loser,
                "prompt_token_ids": chosen["prompt_token_ids"],
                "chosen_token_ids": chosen["token_ids"],
                "rejected_token_ids": rejected["token_ids"],
                "ref_chosen_logp": sum(chosen["logprobs"]),
                "ref_rejected_logp": sum(rejected["logprobs"]),
                "score_chosen": scores[0] if first_wins else scores[1],
                "score_rejected": scores[1] if first_wins else scores[0],
                "margin": decision.margin,
                "source": "ai",
                "judge": decision.judge,
                "judge_sha": decision.judge_sha,
                "policy": chosen["policy"],
                "round": round_number,
            }
        )
    counts.pairs += len(rows)
    counts.prompts += bool(rows)
    return rows
