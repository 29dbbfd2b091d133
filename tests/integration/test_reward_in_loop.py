"""The reward model of a run, trained anew by Ray Train's workers on what earlier rounds have committed."""

import asyncio
from pathlib import Path

import pytest

from rlaif.data.question import Question
from rlaif.inference.pools import RunPools
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.retrained import reward_models
from rlaif.judges.spec import JudgeSpec
from rlaif.models.resolve import model_identity
from rlaif.progress import Silent
from rlaif.prompts.template import load_template
from rlaif.recipe import load_recipe
from rlaif.rounds.reward_stage import RewardStage
from rlaif.rounds.setup import Setup
from rlaif.store.events import ignore_event
from rlaif.store.records.reward_record import RewardRecord
from rlaif.store.records.round_records import PromoteStage
from rlaif.training.workers import TrainingWorkers
from tests.tiny import save_chat_model
from tests.unit.small_run import SmallRun

pytestmark = pytest.mark.integration
WORDS = ["Question:", "Net", "revenue", "was", "million.", "What", "the", "net", "of", "in", "It"]


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.usefixtures("ray_here")
def test_a_reward_model_is_trained_anew_on_the_rounds_before_and_once(tmp_path: Path) -> None:
    small = SmallRun(tmp_path / "small", prompts=12, heldout=6)
    run = small.run
    run.round(0).mark(PromoteStage(promoted=True))
    base = save_chat_model(tmp_path / "base", WORDS, max_position_embeddings=2048)
    (tmp_path / "rewards.yaml").write_text(f"kind: reward-model\nmodel: {base}\n")
    (tmp_path / "both.yaml").write_text("kind: panel\nmode: first-to-decide\njudges: [reference, ./rewards.yaml]\n")
    recipe = load_recipe(
        "demo",
        [
            f"judge.name={tmp_path / 'both.yaml'}", "reward.retrain=true", "reward.heldout_share=0.3",
            "reward.training={epochs: 2, learning_rate: 1.0e-3, pairs_per_step: 8}", "cluster.device=cpu",
        ],
    )  # fmt: skip
    spec = load_judge_file(recipe.judge.name, recipe.judge)
    heldout = [Question(row["id"], row["question"], row["context"], row["reference"]) for row in small.heldout]
    setup = Setup(recipe, run.root, [], heldout, [], spec, load_template("answer"), ())
    progress = Said()

    async def judges() -> list[JudgeSpec]:
        pools = RunPools(
            recipe.policy, recipe.sampling, recipe.training, recipe.cluster,
            base_id="b" * 64, judge_models=[], judge_tokens=1, gpu=False, emit=ignore_event,
        )  # fmt: skip
        async with TrainingWorkers(recipe.cluster.training, gpu=False) as workers:
            stage = RewardStage(setup, run, (), pools=pools, workers=workers, progress=progress)
            found = [await stage.judge_of(run.round(number), spec, trains=True) for number in (0, 1, 2)]
            # A start that resumes finds what is there, and a round that trains none goes on with the last.
            found.append(await stage.judge_of(run.round(1), spec, trains=True))
            found.append(await stage.judge_of(run.round(3), spec, trains=False))
            return found

    first, second, third, again, last = asyncio.run(judges())
    assert first == spec
    assert progress.lines[0] == "round 0: reward model: no pairs of people or other judges to learn from yet"
    assert len(progress.lines) == 3
    records = [RewardRecord.read(run.round(number).path("reward.json")) for number in range(3)]
    assert records[0] is None
    trained = [record for record in records if record is not None]
    assert [record.parent for record in trained] == [None, trained[0].id]
    for record, judge in zip(trained, (second, third), strict=True):
        (reward,) = reward_models(judge)
        assert model_identity(reward.model) == record.id
        assert reward.sha == record.judge_sha
        assert judge.sha != spec.sha
        assert record.base.id == model_identity(base)
        assert record.accuracy is not None
        assert record.heldout is not None
        assert record.accuracy.value == record.heldout.accuracy
        assert record.gain is not None
        assert record.gain.n == 6
        assert record.train.human == 0
        assert len(record.log) == record.steps > 0
    assert trained[1].train.pairs > trained[0].train.pairs
    assert (again.sha, last.sha) == (second.sha, third.sha)
