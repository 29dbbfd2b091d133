"""Two workers, each with the whole model or sharing one, learn from ratings what one worker learns."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from rlaif.recipe import KtoSection, TrainersSection
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.kto.train import KtoResult, train_kto
from tests.tiny import save_chat_model
from tests.workers import in_workers

STRATEGIES = ("ddp", "fsdp")


def write_ratings(path: Path) -> None:
    """Eleven rated answers of unequal lengths to six prompts, most to the first."""
    draw = random.Random(0)
    rows = []
    for number in range(11):
        prompt = number % 5 if number % 2 else 5
        rows.append(
            {
                "rating_id": f"r{number}", "prompt_token_ids": [6 + prompt] * (8 + prompt),
                "token_ids": [draw.randrange(6, 60) for _ in range(2 + number)], "desirable": number % 3 > 0,
                "source": "human",
            }
        )  # fmt: skip
    write_table(str(path), pa.Table.from_pylist(rows))


def make_job(folder: Path, name: str, workers: TrainersSection) -> TrainingJob[KtoSection]:
    (folder / name).mkdir()
    write_ratings(folder / name / "rows.parquet")
    settings = KtoSection(
        beta=0.5, learning_rate=1e-3, schedule="constant", warmup=0.0, ratings_per_step=6, epochs=5,
        max_tokens_per_pack=64,
    )  # fmt: skip
    return TrainingJob(
        start=StartingWeights(str(folder / "model"), None, "float32"), rows=str(folder / name / "rows.parquet"),
        out=str(folder / name / "policy"), settings=settings, seed=3, gpu=False, workers=workers,
    )  # fmt: skip


def train(rank: int, jobs: dict[str, TrainingJob[KtoSection]], folder: Path) -> None:
    results = {}
    for name, job in jobs.items():
        results[name] = train_kto(job, Worker(rank, dist.get_world_size()))
        dist.barrier()
    if rank == 0:
        torch.save(results, folder / "results.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of one worker and of two, and the folder with their policies."""
    folder = tmp_path_factory.mktemp("kto-workers")
    save_chat_model(folder / "model", [f"word{number}" for number in range(60)])
    alone = train_kto(make_job(folder, "alone", TrainersSection()), Worker())
    jobs = {name: make_job(folder, name, TrainersSection(workers=2, strategy=name)) for name in STRATEGIES}
    in_workers(train, 2, jobs, folder)
    together: dict[str, KtoResult] = torch.load(folder / "results.pt", weights_only=False)
    return folder, alone, together


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_workers_learn_what_one_learns(strategy: str, results: Any) -> None:
    folder, alone, together = results
    result = together[strategy]
    assert (result.units, result.groups, result.desirable, result.undesirable) == (11, 6, 7, 4)
    assert (result.steps, len(alone.log)) == (alone.steps, alone.steps)
    assert alone.log[-1]["loss"] < alone.log[0]["loss"]
    assert (alone.log[0]["kl"], alone.log[0]["margin"]) == pytest.approx((0.0, 0.0), abs=1e-5)
    assert max(entry["kl"] for entry in alone.log) > 0.01
    for one, both in zip(alone.log, result.log, strict=True):
        for name in ("loss", "kl", "margin", "accuracy", "grad_norm"):
            assert both[name] == pytest.approx(one[name], rel=1e-4, abs=1e-6), name
    ours, theirs = (load_file(folder / name / "policy" / "model.safetensors") for name in (strategy, "alone"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-4)
    for one, both in zip(alone.probe.sequences, result.probe.sequences, strict=True):
        assert both.after == pytest.approx(one.after, abs=1e-4)
        assert both.after != pytest.approx(both.before, abs=1e-4)
