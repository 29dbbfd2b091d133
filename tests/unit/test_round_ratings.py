"""Which of a round's answers are good or bad, and why the others are neither."""

from collections import Counter
from pathlib import Path
from typing import Any

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.inference.requests import Backends
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Judge, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.preferences.round_ratings import identified, rating_rows
from rlaif.recipe import RatingsSection
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.schemas import CANDIDATES, VERDICTS
from rlaif.store.shards import ShardTable

NO_MODELS: Any = Backends
REFERENCE: Judge = build_judge(load_judge_file("reference"), NO_MODELS)
BOUNDS = RatingsSection(desirable_from=0.5, undesirable_to=0.2)


def rated(index: int, score: float | None) -> Verdict:
    status = "error" if score is None else "ok"
    return Verdict("q", index, None, status, None, score, "", REFERENCE.name, REFERENCE.sha)  # type: ignore[arg-type]


def candidate(index: int, tokens: list[int], text: str = "an answer", finish: str = "stop") -> dict[str, Any]:
    return {
        "prompt_id": "q", "candidate": index, "text": text, "token_ids": tokens, "logprobs": [-1.0] * len(tokens),
        "finish_reason": finish, "policy": "p0", "seed": 1, "prompt_token_ids": [1, 2],
    }  # fmt: skip


def test_a_rounds_answers_are_good_or_bad_or_counted_by_why_not(tmp_path: Path) -> None:
    directory: RoundDir = RunDir(str(tmp_path)).round(2)
    candidates = [
        candidate(0, [3]),
        candidate(1, [4], finish="length"),
        candidate(2, [5], finish="length"),
        candidate(3, [6]),
        candidate(4, [3]),
        candidate(5, [7], text="<think>still"),
        candidate(6, [8]),
        candidate(7, [9]),
        candidate(8, [10]),
        candidate(9, [11], text="  "),
        # The same answer as one that the judge could not rate.
        candidate(10, [8]),
    ]
    given = [0.9, 0.9, 0.1, 0.3, 0.9, 0.9, None, 0.5, 0.9, 0.9, 0.1]
    verdicts = [rated(index, score) for index, score in enumerate(given)]
    ShardTable(directory.path("candidates"), CANDIDATES).append(candidates)
    rows = [
        {name: getattr(verdict, name) for name in VERDICTS.names if name != "marks"} | {"marks": []}
        for verdict in verdicts
    ]
    ShardTable(directory.path("verdicts"), VERDICTS).append(rows)
    left_out = Counter[str]()

    def render(question: Question) -> Messages:
        return [{"role": "user", "content": question.question}]

    known = {identified(candidates[8])}
    questions = {"q": Question("q", "What?")}
    found = list(rating_rows(directory, questions, REFERENCE, BOUNDS, render=render, left_out=left_out, known=known))
    assert [(row["candidate"], row["desirable"], row["score"]) for row in found] == [
        (0, True, 0.9), (2, False, 0.1), (7, True, 0.5), (10, False, 0.1),
    ]  # fmt: skip
    assert left_out == {
        "truncated": 1, "undecided": 1, "repeated": 1, "unfinished": 1, "without_score": 1, "rated_by_people": 1,
        "empty": 1,
    }  # fmt: skip
    first = found[0]
    assert (first["source"], first["judge_sha"], first["policy"], first["round"]) == ("ai", REFERENCE.sha, "p0", 2)
    assert (first["prompt"][0]["content"], first["answer"][0]["content"]) == ("What?", "an answer")
