"""What rounds of each objective gather from the same stored candidates and verdicts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rlaif.objectives.objective import Materials, RoundWork
from rlaif.objectives.registry import prepare_objective
from rlaif.preferences import round_rows
from rlaif.progress import Silent
from rlaif.prompts.template import load_template
from rlaif.recipe import FeedbackSection, PhaseSection, parse_recipe
from rlaif.store.records.round_records import GatherStage
from rlaif.store.rundir import RunDir
from rlaif.store.shards import read_table
from tests.unit.test_coordinator import Engines, Judge, dispatch, prompts

RECIPE = """
policy: {model: "builtin:smollm2-135m"}
questions:
  train: {type: demo, split: train, count: 40}
  heldout: {type: demo, split: heldout, count: 8}
judge: {name: reference}
phases:
  - {objective: grpo, sampling: {temperature: 1}}
  - {objective: sft, demonstrations: {type: best_of_n}}
  - {objective: kto, ratings: {desirable_from: 0.5}}
"""
GRPO, BEST, KTO = parse_recipe(RECIPE, "mine.yaml").every_phase


def gathered(root: Path, phase: PhaseSection, seed: int, shard: int) -> tuple[GatherStage, Any]:
    """Return the record of a round of 30 questions, three of which could not be sampled, and its file."""
    dispatch(str(root), 30, Engines(seed), Judge(), shard=shard)
    run, recipe, questions = RunDir(str(root)), parse_recipe(RECIPE, "mine.yaml"), prompts(30)
    materials = Materials(questions, recipe.policy, None, load_template("answer"), "phases.0", FeedbackSection())
    objective, judge = prepare_objective(phase, materials), Judge()
    nothing: Any = None
    work = RoundWork(
        run=run, directory=run.round(0), number=0, questions=questions, train={each.id: each for each in questions},
        judge=judge, policy=recipe.policy, seed=0,  # type: ignore[arg-type]
        render=lambda question: [{"role": "user", "content": question.question}],
        progress=Silent(), say=lambda line: None, idle=nothing,
    )  # fmt: skip
    record = asyncio.run(objective.gather(phase, work))
    assert isinstance(record, GatherStage)
    return record, read_table(run.round(0).path(objective.rows))


@pytest.mark.parametrize("phase", [GRPO, BEST, KTO], ids=lambda phase: phase.objective)
def test_rows_do_not_depend_on_the_order_in_which_questions_finished(
    phase: PhaseSection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for seed, shard, at_once in ((0, 3, 8192), (1, 2, 4), (2, 64, 1)):
        monkeypatch.setattr(round_rows, "_QUESTIONS_PER_RANGE", at_once)
        found.append(gathered(tmp_path / str(seed), phase, seed, shard))
    assert found[0][1].num_rows > 0
    assert len({record.model_copy(update={"done": ""}).model_dump_json() for record, _ in found}) == 1
    assert all(table.equals(found[0][1]) for _, table in found)


def test_an_answer_is_rewarded_as_the_verdicts_say(tmp_path: Path) -> None:
    record, table = gathered(tmp_path, GRPO, 0, 3)
    assert (record.units, record.questions, record.left_out, record.figures) == (54, 27, {}, {"reward": 0.5})
    assert table["reward"].to_pylist() == [1.0, 0.0] * 27


def test_the_answer_that_wins_is_learned(tmp_path: Path) -> None:
    record, table = gathered(tmp_path, BEST, 0, 3)
    assert (record.units, record.questions) == (27, 30)
    assert set(table["candidate"].to_pylist()) == {0}
    assert (table["token_ids"][0].as_py(), table["starts"][0].as_py()) == ([1, 2, 0], [2])


def test_answers_to_one_prompt_teach_no_ratings(tmp_path: Path) -> None:
    # The engines of this test give each question the same prompt tokens.
    record, table = gathered(tmp_path, KTO, 0, 3)
    assert (record.units, record.questions, record.left_out) == (0, 1, {"to_one_prompt": 54})
    assert table["desirable"].to_pylist() == [True, False] * 27
