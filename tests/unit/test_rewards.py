"""Rewards of candidates, and the best of them: what was not read is no reward, and chance decides nothing."""

from collections.abc import Sequence
from typing import Any

import pytest

from rlaif.inference.requests import Backends
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Judge, Status, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.objectives.rejection_sampling import best_candidate
from rlaif.preferences.rewards import candidate_rewards

NO_MODELS: Any = Backends
REFERENCE: Judge = build_judge(load_judge_file("reference"), NO_MODELS)


def rating(candidate: int, score: float | None, status: Status = "ok", judge: Judge = REFERENCE) -> Verdict:
    return Verdict("q", candidate, None, status, None, score, "", judge.name, judge.sha)


class Compares:
    """A judge whose decisions are those of its verdicts, one of each comparison."""

    name, sha = "compares", "sha"

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Any]:
        return list(verdicts)


def comparison(first: int, second: int, preference: float | None, status: Status = "ok") -> Verdict:
    return Verdict("q", first, second, status, preference, None, "", "compares", "sha", order="ab")


def test_a_rating_is_the_reward() -> None:
    given = [rating(0, 1.0), rating(1, 0.25), rating(2, None, "silent"), rating(3, None, "error")]
    assert candidate_rewards(REFERENCE, "q", 5, given) == [1.0, 0.25, None, None, None]


def test_several_ratings_count_by_their_mean_if_most_are_read() -> None:
    given = [rating(0, 1.0), rating(0, 0.5), rating(0, None, "unparsed"), rating(1, 1.0), rating(1, None, "error")]
    assert candidate_rewards(REFERENCE, "q", 2, given) == [0.75, None]


def test_a_comparison_gives_the_win_rate_over_what_was_decided() -> None:
    judge: Any = Compares()
    given = [
        comparison(0, 1, 0.9), comparison(0, 2, None, "tie"), comparison(1, 2, None, "error"),
        comparison(1, 3, None, "unparsed"), comparison(2, 3, None, "error"),
    ]  # fmt: skip
    assert candidate_rewards(judge, "q", 4, given) == [pytest.approx(0.7), pytest.approx(0.1), 0.5, None]


def test_verdicts_on_another_question_count_nothing() -> None:
    assert candidate_rewards(REFERENCE, "other", 1, [rating(0, 1.0)]) == [None]


def sampled(*finish: str) -> list[dict[str, Any]]:
    return [{"candidate": index, "finish_reason": reason, "text": "5"} for index, reason in enumerate(finish)]


@pytest.mark.parametrize(
    ("rewards", "min_reward", "best", "reason"),
    [
        ([0.0, 1.0, 0.5], None, 1, ""),
        ([0.5, 1.0, 1.0], None, 1, ""),
        ([1.0, 1.0, None], None, None, "no_better_than_others"),
        ([1.0, 1.0, None], 0.5, 0, ""),
        ([0.0, 0.4, 0.2], 0.5, None, "below_min_reward"),
        ([None, None, None], None, None, "without_a_reward"),
        # The last of four was cut.
        ([0.0, 0.3, None, 1.0], None, 1, ""),
        ([None, None, None, 1.0], None, None, "truncated"),
    ],
)
def test_the_best_candidate(
    rewards: list[float | None], min_reward: float | None, best: int | None, reason: str
) -> None:
    rows = sampled("stop", "stop", "stop", "length")[: len(rewards)]
    found, why = best_candidate(rows, rewards, min_reward)
    assert (found and found["candidate"], why) == (best, reason)


@pytest.mark.parametrize(("text", "why"), [("<think>still", "unfinished"), (" ", "empty")])
def test_an_answer_that_shows_nothing_is_never_the_best(text: str, why: str) -> None:
    rows = sampled("stop", "stop")
    rows[0]["text"] = text
    assert best_candidate(rows, [1.0, 0.5], 0.5) == (rows[1], "")
    assert best_candidate(rows[:1], [1.0], 0.5) == (None, why)
