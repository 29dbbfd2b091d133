"""A round's ratings, from its stored candidates and verdicts: which answers are good and which are bad.

Invariant: the rows depend only on what is stored, not on its order. An answer whose score is between good and bad, or
that no judge could read, is counted and is no rating; an answer that was cut by length is never good.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from rlaif.chat import Messages, visible_answer
from rlaif.data.question import Question
from rlaif.judges.judge import Judge, stored_verdict
from rlaif.preferences.pairs import pair_id
from rlaif.preferences.rewards import candidate_rewards
from rlaif.recipe import RatingsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, VERDICTS
from rlaif.store.shards import ShardTable, joined

Answered = tuple[tuple[int, ...], tuple[int, ...]]
"""Prompt and answer as token ids."""


def rating_rows(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    bounds: RatingsSection,
    *,
    render: Callable[[Question], Messages],
    left_out: Counter[str],
    known: Collection[Answered] = (),
) -> Iterator[dict[str, Any]]:
    """Yield the rows of `ratings.parquet` of a sampled and judged round.

    Args:
        questions: the train set by id.
        render: returns the chat that the policy was asked.
        left_out: added to, by reason.
        known: answers that people rated, whose ratings go before the judge's.
    """
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
    for question_id, sampled, judged in joined(candidates, verdicts):
        scores = candidate_rewards(judge, question_id, len(sampled), [stored_verdict(row) for row in judged])
        prompt = render(questions[question_id])
        seen: set[Answered] = set()
        for row in sorted(sampled, key=lambda row: row["candidate"]):
            score, answered = scores[row["candidate"]], identified(row)
            if answered in seen or answered in known:
                left_out["repeated" if answered in seen else "rated_by_people"] += 1
                continue
            if score is None:
                left_out["without_score"] += 1
                continue
            seen.add(answered)
            desirable = bounds.is_desirable(score)
            if reason := _reason(row, desirable):
                left_out[reason] += 1
                continue
            yield {
                "rating_id": pair_id("rating", directory.number, question_id, row["candidate"]),
                "prompt": prompt,
                "answer": [{"role": "assistant", "content": row["text"]}],
                "prompt_id": question_id,
                "candidate": row["candidate"],
                "prompt_token_ids": row["prompt_token_ids"],
                "token_ids": row["token_ids"],
                "desirable": desirable,
                "score": score,
                "source": "ai",
                "judge": judge.name,
                "judge_sha": judge.sha,
                "policy": row["policy"],
                "round": directory.number,
            }


def identified(row: Mapping[str, Any]) -> Answered:
    """Return what identifies a rated answer."""
    return tuple(row["prompt_token_ids"]), tuple(row["token_ids"])


def _reason(row: Mapping[str, Any], desirable: bool | None) -> str | None:
    """Return why an answer with a score teaches nothing; None if it does."""
    if desirable is None:
        return "undecided"
    if not desirable:
        return None
    if row["finish_reason"] == "length":
        return "truncated"
    visible = visible_answer(row["text"])
    return "unfinished" if visible is None else None if visible.strip() else "empty"
