"""Preference pairs of answers that another system sampled.

Invariant: as in a run, only a decision whose status is `ok` becomes a pair. The pairs have a run's columns; those of
tokens, seeds and policy are null, since nobody knows them.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from rlaif.chat import Messages
from rlaif.data.candidates import Candidates
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Verdict
from rlaif.preferences.pairs import PairCounts, choose
from rlaif.recipe import PairsSection


def labelled_rows(
    candidates: Candidates,
    verdicts: Sequence[Verdict],
    messages: Messages,
    *,
    judge: Judge,
    section: PairsSection,
    counts: PairCounts,
) -> list[dict[str, Any]]:
    """Return the rows of `pairs.parquet` for one question.

    Args:
        candidates: the question with its answers.
        verdicts: all verdicts on it.
        messages: the chat that puts the question.
        judge: decides what the verdicts come to.
        section: which decisions become pairs.
        counts: added to.
    """
    prompt, answers = candidates.prompt, candidates.answers
    decisions = judge.decide(prompt.id, len(answers), verdicts)
    counts.by_status.update(decision.status for decision in decisions)
    chosen_decisions = choose(decisions, section)
    counts.below_margin += sum(
        decision.status == "ok" and (decision.margin or 0.0) < section.min_margin for decision in decisions
    )
    rows = []
    for decision in chosen_decisions:
        if decision.preference is None:
            continue
        first_wins = decision.preference > 0.5
        winner, loser = (decision.first, decision.second) if first_wins else (decision.second, decision.first)
        scores = {decision.first: decision.score_first, decision.second: decision.score_second}
        counts.by_judge[decision.judge] += 1
        rows.append(
            {
                "pair_id": labelled_pair_id(candidates, winner, loser),
                "prompt": messages,
                "chosen": [{"role": "assistant", "content": answers[winner]}],
                "rejected": [{"role": "assistant", "content": answers[loser]}],
                "prompt_id": prompt.id,
                "chosen_candidate": winner,
                "rejected_candidate": loser,
                "score_chosen": scores[winner],
                "score_rejected": scores[loser],
                "margin": decision.margin,
                "source": "ai",
                "judge": decision.judge,
                "judge_sha": decision.judge_sha,
            }
        )
    counts.pairs += len(rows)
    counts.prompts += bool(rows)
    return rows


def labelled_pair_id(candidates: Candidates, chosen: int, rejected: int) -> str:
    """Return the id of a pair of which nothing but the texts is known: the same for the same texts, in any file.

    The answers' numbers tell repetitions of an answer apart.
    """
    prompt, answers = candidates.prompt, candidates.answers
    parts = (prompt.question, prompt.context, answers[chosen], answers[rejected], str(chosen), str(rejected))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
