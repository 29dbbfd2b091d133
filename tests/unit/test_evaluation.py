"""Held-out answers that a judge compares, the gate, and what a run that the gate ended has left."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rlaif.data.question import Question
from rlaif.evaluation.heldout import (
    Comparison,
    HeldoutAnswer,
    compare_answers,
    initial_logps,
    predictions_csv,
    sample_policy,
)
from rlaif.inference.requests import Candidate, SampleReply, SampleRequest, ScoreRequest
from rlaif.inference.vllm.engine import VllmEngine
from rlaif.judges.build import open_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.recipe.recipe import GateSection, RoundsSection
from rlaif.rounds.gate import Opponent, decide
from rlaif.rounds.loop import rounds_left
from tests.unit.small_run import SmallRun


class FullEngine:
    """Its answers are as long as they may be, and fill its context where nothing prevents it."""

    _context, prompt = 10, [1] * 6

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        assert len(self.prompt) + request.max_tokens <= self._context
        count = request.max_tokens
        drawn = Candidate("", [2] * count, [-1.0] * count, "length", request.seed)
        return SampleReply(request.id, self.prompt, [drawn], "policy"), 1

    async def score_initial(self, requests: list[ScoreRequest]) -> list[list[float]]:
        for request in requests:
            VllmEngine._check_length(self, request)  # type: ignore[arg-type]
        return [[-2.0] * (len(request.token_ids) - request.start) for request in requests]


def test_answers_that_fill_the_context_can_be_scored_for_the_divergence() -> None:
    async def measure() -> list[tuple[float, float]]:
        pool: Any = FullEngine()
        samples = await sample_policy(pool, [Question("q", "Sales?")], lambda question: [], max_tokens=4, seed=0)
        return list(zip([each.logp for each in samples], await initial_logps(pool, samples), strict=True))

    assert asyncio.run(measure()) == [(-3.0, -6.0)]


JUDGE = """
def judge(question, candidates, gold_answer, context):
    if question == "fails":
        raise RuntimeError("no connection")
    return {"scores": [len(candidate) for candidate in candidates]}
"""


def compared(folder: Path, *asked: tuple[str, str, str]) -> Comparison:
    """Compare answers to questions without gold answers, by a judge that prefers the longer one."""
    (folder / "mine.py").write_text(JUDGE, encoding="utf-8")
    (folder / "mine.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")
    questions = [Question(str(number), text) for number, (text, _, _) in enumerate(asked)]
    new, old = (
        [HeldoutAnswer(str(number), row[0], "", None, row[side], None, None, None, 1, None) for number, row in rows]
        for side, rows in ((1, list(enumerate(asked))), (2, list(enumerate(asked))))
    )

    async def compare() -> Comparison:
        async with open_judge(load_judge_file(str(folder / "mine.yaml")), None) as judge:  # type: ignore[arg-type]
            return await compare_answers(new, old, questions, judge, confidence=0.95, seed=0)

    return asyncio.run(compare())


def test_a_question_on_which_the_judge_fails_is_no_half_win(tmp_path: Path) -> None:
    won, tied, failed = ("q", "longer", "short"), ("q", "same", "same"), ("fails", "longer", "short")
    found = compared(tmp_path, won, tied, failed, failed)
    assert (found.wins.value, found.wins.n, found.errors) == (0.75, 2, 2)
    assert (found.differences, found.least) == ((0.5, 0.0), -0.5)


def test_a_policy_that_no_judgment_speaks_for_does_not_pass(tmp_path: Path) -> None:
    found = compared(tmp_path, ("fails", "longer", "short"))
    assert (found.wins.n, found.errors) == (0, 1)
    current = Opponent("p", 0.5, found)
    for confidence in (None, 0.9):
        section = GateSection(max_drop=1.0, confidence=confidence)
        gate = decide("win_rate_against_current", found.wins.value, current, None, section=section, seed=0)
        assert not gate.passed


@pytest.mark.parametrize(("on_fail", "left"), [("stop", []), ("continue", [2])])
def test_a_run_that_the_gate_ended_has_no_round_left(tmp_path: Path, on_fail: str, left: list[int]) -> None:
    run = SmallRun(tmp_path / "small").run  # Policy 2 did not pass the gate.
    section = RoundsSection(count=3, gate=GateSection(on_fail=on_fail))  # type: ignore[arg-type]
    assert [directory.number for directory in rounds_left(run, section)] == left


def test_the_passage_of_a_prediction_supports_the_visible_answer() -> None:
    context = "Revenue was $4 million in 2022. Costs were $3 million."
    thought = "<think>Revenue was $4 million in 2022?</think>Costs were $3 million."
    for answer in (thought, "Costs were $3 million."):
        row = HeldoutAnswer("1", "How much?", context, None, answer, None, None, None, 9, None)
        assert predictions_csv([row]).decode().splitlines()[1].endswith(",Costs were $3 million.")
