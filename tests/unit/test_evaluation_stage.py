"""The stage that measures a policy: whom the gate compares it with, and the score that no gate has seen."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rlaif.data.question import Question
from rlaif.inference.requests import Candidate, SampleReply, SampleRequest
from rlaif.progress import Silent
from rlaif.recipe import parse_recipe
from rlaif.rounds.evaluation_stage import PolicyEvaluation
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import EvaluationRecord

RECIPE = """
policy: {model: m}
questions: {train: {type: demo}, heldout: {type: demo, split: heldout}, test: {type: demo, split: heldout}}
judge: {name: reference}
evaluation: {kl_questions: 0}
"""
QUESTIONS = [Question(f"q{index}", "What was revenue?", gold_answer=f"${index + 100}") for index in range(100)]
TESTS = [Question(f"t{index}", "What was profit?", gold_answer="$7") for index in range(4)]


class Pool:
    """Answers with a policy that is right on the first `right` questions, and on the tests if that is above 50."""

    def __init__(self) -> None:
        self.policy, self.right = PolicyWeights("p0", "base"), 0

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        right = self.right > 50 if request.id.startswith("t") else int(request.id[1:]) < self.right
        gold = {question.id: question.gold_answer for question in [*QUESTIONS, *TESTS]}[request.id]
        text = str(gold) if right else "$1"
        return SampleReply(request.id, [1], [Candidate(text, [2], [-0.5], "stop", 0)], self.policy.id), 1


def measure(folder: Path, rights: list[int], gate: str) -> list[EvaluationRecord]:
    """Measure policies one after another; each earlier one was promoted."""
    recipe = parse_recipe(RECIPE, "mine.yaml", [f"rounds.gate={gate}"])
    setup: Any = SimpleNamespace(
        recipe=recipe, heldout=QUESTIONS, test=TESTS, render=lambda question: [], refusal=""
    )  # fmt: skip
    pool = Pool()
    pools: Any = SimpleNamespace(policy=pool)
    judge: Any = None  # Every question has a gold answer.
    folders = [str(folder / str(number)) for number in range(len(rights))]
    evaluation = PolicyEvaluation(setup, pools, judge, initial=folders[0], progress=Silent())

    async def work() -> None:
        for number, right in enumerate(rights):
            pool.policy, pool.right = PolicyWeights(f"p{number}", "lora", serial=number), right
            await evaluation.evaluate(folders[number], "evaluate", folders[:number])

    asyncio.run(work())
    found = [EvaluationRecord.read(f"{each}/evaluation.json") for each in folders]
    return [record for record in found if record is not None]


def test_a_policy_that_falls_behind_the_best_one_by_small_steps_is_not_promoted(tmp_path: Path) -> None:
    """Each step loses two questions of 100, which a drop of 0.06 allows; the third has lost six to the best one."""
    initial, best, second, third, fourth = measure(tmp_path, [30, 60, 58, 56, 54], "{max_drop: 0.06}")
    assert initial.gate is None
    assert [record.promoted for record in (best, second, third, fourth)] == [True, True, False, False]
    assert best.gate is not None
    assert best.gate.best is None
    for record in (third, fourth):
        assert record.gate is not None
        assert record.gate.best is not None
        assert (record.gate.best.policy, record.gate.best.before) == ("p1", 0.6)
        assert record.gate.low is not None
        assert record.gate.low > -0.06  # Against the current policy alone it would have passed.


def test_the_means_alone_decide_where_the_recipe_says_so(tmp_path: Path) -> None:
    _, one, same, less = measure(tmp_path, [30, 31, 31, 30], "{confidence: null}")
    assert [record.promoted for record in (one, same, less)] == [True, True, False]
    assert one.gate is not None
    assert (one.gate.confidence, one.gate.low, one.gate.change) == (None, None, "score 0.300 → 0.310")


def test_one_more_right_answer_of_a_hundred_is_no_gain_beyond_chance(tmp_path: Path) -> None:
    _, one, many = measure(tmp_path, [30, 31, 40], "{}")
    assert [record.promoted for record in (one, many)] == [False, True]


@pytest.mark.parametrize(("right", "score"), [(30, 0.0), (60, 1.0)])
def test_test_questions_with_gold_answers_give_a_score_that_no_gate_sees(
    tmp_path: Path, right: int, score: float
) -> None:
    (measured,) = measure(tmp_path, [right], "{}")
    assert measured.metrics["test_score"].value == score
    assert measured.metrics["score"].value == right / 100
    assert measured.metrics["score"].n == 100
