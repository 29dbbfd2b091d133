"""A round's `pairs.parquet`, from its stored candidates and verdicts, and from what people decided and prefer."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Comparison, Judge
from rlaif.preferences.pairs import PEOPLE, PairCounts, PeopleDecision, pair_id, pair_rows
from rlaif.preferences.round_rows import judged_questions, write_rows
from rlaif.recipe import PairsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import PAIRS


def write_pairs(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    section: PairsSection,
    *,
    render: Callable[[Question], Messages],
    people: Mapping[str, Mapping[Comparison, PeopleDecision]] | None = None,
    preferences: Sequence[dict[str, Any]] = (),
) -> PairCounts:
    """Write the pairs of a sampled and judged round, sorted by question and pair id, and return their counts.

    Args:
        questions: the train set by id.
        render: returns the chat that the policy was asked.
        people: what people decided of the candidates, by question.
        preferences: rows of people's own pairs, which join; a judge's pair of the same prompt and answers is left out.
    """
    counts = PairCounts()
    known = {_compared(row) for row in preferences}

    def rows() -> Iterator[dict[str, Any]]:
        for judged in judged_questions(directory):
            question, sampled = questions[judged.id], judged.sampled
            made = pair_rows(
                question,
                {row["candidate"]: row["text"] for row in sampled},
                judged.verdicts,
                render(question),
                judge=judge,
                section=section,
                source_columns=sampled_columns(directory.number, sampled),
                counts=counts,
                cut={row["candidate"] for row in sampled if row["finish_reason"] == "length"},
                people=(people or {}).get(judged.id),
            )
            replaced = [row for row in made if row["source"] == "ai" and _compared(row) in known] if known else []
            counts.pairs -= len(replaced)
            if replaced and len(replaced) == len(made):
                counts.prompts -= 1
            counts.by_judge.subtract(row["judge"] for row in replaced)
            yield from (row for row in made if row not in replaced)
        if preferences:
            yield from preferences
            counts.pairs += len(preferences)
            counts.preferences += len(preferences)
            counts.by_judge[PEOPLE] += len(preferences)

    write_rows(directory, "pairs.parquet", PAIRS, rows(), then_by="pair_id")
    return counts


def sampled_columns(round_number: int, candidates: Sequence[Mapping[str, Any]]) -> Callable[[int, int], dict[str, Any]]:
    """Return the `source_columns` of `pair_rows` for a question's rows of a round's candidates."""
    by_index = {row["candidate"]: row for row in candidates}

    def columns(chosen: int, rejected: int) -> dict[str, Any]:
        won, lost = by_index[chosen], by_index[rejected]
        return {
            "pair_id": pair_id(round_number, won["prompt_id"], chosen, rejected),
            "prompt_token_ids": won["prompt_token_ids"],
            "chosen_token_ids": won["token_ids"],
            "rejected_token_ids": lost["token_ids"],
            "ref_chosen_logp": sum(won["logprobs"]),
            "ref_rejected_logp": sum(lost["logprobs"]),
            "policy": won["policy"],
            "round": round_number,
        }

    return columns


def _compared(row: Mapping[str, Any]) -> tuple[tuple[int, ...], frozenset[tuple[int, ...]]]:
    """Return what identifies the comparison of a pair, whichever answer it prefers: prompt and answers as token ids."""
    answers = frozenset(tuple(row[f"{side}_token_ids"]) for side in ("chosen", "rejected"))
    return tuple(row["prompt_token_ids"]), answers
