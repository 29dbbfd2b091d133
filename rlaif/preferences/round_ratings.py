"""A round's ratings, from its stored candidates and verdicts: which answers are good and which are bad.

Invariant: the rows depend only on what is stored, not on its order. An answer whose score is between good and bad, or
that no judge could read, is counted and is no rating; an answer that was cut by length is never good.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Judge
from rlaif.preferences.pairs import pair_id
from rlaif.preferences.round_rows import judged_questions, no_example
from rlaif.recipe import RatingsSection
from rlaif.store.rundir import RoundDir

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
    for judged in judged_questions(directory):
        scores, prompt = judged.rewards(judge), render(questions[judged.id])
        seen: set[Answered] = set()
        for row in judged.sampled:
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
                **judged.answer_columns(row, prompt, judge),
                "rating_id": pair_id("rating", directory.number, judged.id, row["candidate"]),
                "desirable": desirable,
                "score": score,
            }


def identified(row: Mapping[str, Any]) -> Answered:
    """Return what identifies a rated answer."""
    return tuple(row["prompt_token_ids"]), tuple(row["token_ids"])


def _reason(row: Mapping[str, Any], desirable: bool | None) -> str | None:
    """Return why an answer with a score teaches nothing; None if it does."""
    if desirable is None:
        return "undecided"
    return no_example(row) if desirable else None
