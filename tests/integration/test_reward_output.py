"""The output of a reward model is trained in float32 beside an adapter, whatever the frozen base's type."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from rlaif.recipe import TrainersSection, parse_overrides
from rlaif.recipe.reward import RewardTrainingSection
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.reward.train import RewardSettings, train_reward_model
from tests.tiny import save_chat_model
from tests.workers import in_workers

Job = TrainingJob[RewardTrainingSection]

STEPS, RATE = 40, 1e-5
# Of each weight at first; a bfloat16 of this size has a last bit of 5e-4.
OUTPUT = 0.09375


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A reward model whose base is frozen in bfloat16, and steps far below the last bit of its output's weights."""
    base = save_chat_model(tmp_path / "base", [f"w{n}" for n in range(20)])
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1)
    torch.nn.init.constant_(model.score.weight, OUTPUT)
    model.save_pretrained(base)
    rows = [{"chosen_ids": [3, 6 + n, 7, 2], "rejected_ids": [3, 6 + n, 8, 9, 2]} for n in range(4)]
    write_table(str(tmp_path / "pairs.parquet"), pa.Table.from_pylist(rows))
    settings = parse_overrides(
        RewardSettings,
        [f"training.epochs={STEPS}", f"training.learning_rate={RATE}", "training.pairs_per_step=4",
         "training.schedule=constant", "training.warmup=0", "training.lora.rank=2"],
    )  # fmt: skip
    return TrainingJob(
        start=StartingWeights(base, None, "bfloat16"), rows=str(tmp_path / "pairs.parquet"), out=str(tmp_path / "one"),
        settings=settings.training, seed=0, gpu=False, workers=TrainersSection(),
    )  # fmt: skip


def train(rank: int, job: Job) -> None:
    train_reward_model(replace(job, settings=job.settings.model_copy(update={"pairs_per_pass": 2})), Worker(rank, 2))


def moved(job: Job) -> float:
    """How far the saved output's weights are from the first ones, on average."""
    weight = load_file(Path(job.out) / "model.safetensors")["score.weight"]
    return float((weight.float() - OUTPUT).abs().mean())


def test_small_steps_of_the_output_are_not_lost_in_bfloat16(job: Job, tmp_path: Path) -> None:
    train_reward_model(job, Worker())
    assert moved(job) == pytest.approx(STEPS * RATE, rel=0.5)
    sharing = replace(job, out=str(tmp_path / "two"), workers=TrainersSection(workers=2, strategy="fsdp"))
    in_workers(train, 2, sharing)
    assert moved(sharing) == pytest.approx(moved(job), rel=0.1)
