"""Two workers, each with the whole model or sharing one, learn from demonstrations what one worker learns."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from rlaif.recipe import SftSection, TrainersSection
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.sft.encode import LearnedSequence
from rlaif.training.sft.train import SftResult, sequence_row, train_sft
from tests.tiny import save_chat_model
from tests.workers import in_workers

STRATEGIES = ("ddp", "fsdp")


def write_sequences(path: Path) -> None:
    """Nine sequences of unequal lengths, three on each of three beginnings."""
    draw = random.Random(0)
    rows = []
    for number in range(9):
        beginning = [6 + number % 3] * (8 + number % 3)
        answer = [draw.randrange(6, 60) for _ in range(2 + number)]
        start = len(beginning)
        ids = (*beginning, *answer)
        rows.append(sequence_row(LearnedSequence(f"d{number}", ids, ((start, len(ids)),))))
    write_table(str(path), pa.Table.from_pylist(rows))


def make_job(folder: Path, name: str, workers: TrainersSection) -> TrainingJob[SftSection]:
    (folder / name).mkdir()
    write_sequences(folder / name / "rows.parquet")
    settings = SftSection(
        learning_rate=1e-3, schedule="constant", warmup=0.0, demonstrations_per_step=6, epochs=2, max_tokens_per_pack=64
    )
    return TrainingJob(
        start=StartingWeights(str(folder / "model"), None, "float32"), rows=str(folder / name / "rows.parquet"),
        out=str(folder / name / "policy"), settings=settings, seed=3, gpu=False, workers=workers,
    )  # fmt: skip


def train(rank: int, jobs: dict[str, TrainingJob[SftSection]], folder: Path) -> None:
    results = {}
    for name, job in jobs.items():
        results[name] = train_sft(job, Worker(rank, dist.get_world_size()))
        dist.barrier()
    if rank == 0:
        torch.save(results, folder / "results.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of one worker and of two, and the folder with their policies."""
    folder = tmp_path_factory.mktemp("sft-workers")
    save_chat_model(folder / "model", [f"word{number}" for number in range(60)])
    alone = train_sft(make_job(folder, "alone", TrainersSection()), Worker())
    jobs = {name: make_job(folder, name, TrainersSection(workers=2, strategy=name)) for name in STRATEGIES}
    in_workers(train, 2, jobs, folder)
    together: dict[str, SftResult] = torch.load(folder / "results.pt", weights_only=False)
    return folder, alone, together


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_workers_learn_what_one_learns(strategy: str, results: Any) -> None:
    folder, alone, together = results
    result = together[strategy]
    assert (result.units, result.learned_tokens, result.steps) == (9, 54, alone.steps)
    assert alone.log[-1]["loss"] < alone.log[0]["loss"]
    for one, both in zip(alone.log, result.log, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert both["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    ours, theirs = (load_file(folder / name / "policy" / "model.safetensors") for name in (strategy, "alone"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-4)
    for one, both in zip(alone.probe.sequences, result.probe.sequences, strict=True):
        assert both.before == pytest.approx(one.before, abs=1e-4)
        assert both.after == pytest.approx(one.after, abs=1e-4)
        assert both.after != pytest.approx(both.before, abs=1e-4)
