"""Workers that train a model unpacked take part in as many passes as the others, and train what one worker trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlaif.recipe import TrainersSection, TrainingSection
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from tests.families import FAMILIES
from tests.integration.test_sharding import write_pairs
from tests.tiny import tiny_tokenizer
from tests.workers import in_workers

STRATEGIES = ("ddp", "fsdp")


def make_job(folder: Path, name: str, workers: TrainersSection) -> TrainingJob[TrainingSection]:
    (folder / name).mkdir()
    write_pairs(folder / name / "pairs.parquet")
    settings = TrainingSection(
        learning_rate=1e-3, schedule="constant", warmup=0.0, questions_per_step=3, max_tokens_per_pack=64,
        sft_weight=0.1, gradient_checkpointing=name != "ddp",
    )  # fmt: skip
    return TrainingJob(
        start=StartingWeights(str(folder / "model"), None, "float32"), rows=str(folder / name / "pairs.parquet"),
        out=str(folder / name / "policy"), settings=settings, seed=3, gpu=False, workers=workers,
    )  # fmt: skip


def train(rank: int, jobs: dict[str, TrainingJob[TrainingSection]], folder: Path) -> None:
    results = {}
    for name, job in jobs.items():
        results[name] = train_dpo(job, Worker(rank, dist.get_world_size()))
        dist.barrier()
    if rank == 0:
        torch.save(results, folder / "results.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of one worker and of two, and the folder with their policies."""
    folder = tmp_path_factory.mktemp("unpacked")
    torch.manual_seed(0)
    convolutional = next(family for family in FAMILIES if family.name == "LFM2").config()
    AutoModelForCausalLM.from_config(convolutional).save_pretrained(folder / "model")
    tiny_tokenizer().save_pretrained(folder / "model")
    alone = train_dpo(make_job(folder, "alone", TrainersSection()), Worker())
    jobs = {name: make_job(folder, name, TrainersSection(workers=2, strategy=name)) for name in STRATEGIES}
    in_workers(train, 2, jobs, folder)
    together: dict[str, DpoResult] = torch.load(folder / "results.pt", weights_only=False)
    return folder, alone, together


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_two_workers_train_a_model_unpacked_as_one_does(strategy: str, results: Any) -> None:
    folder, alone, together = results
    result = together[strategy]
    assert (result.attention, result.unpacked[:7]) == ("alone", "packed,")
    assert result.tokens == alone.tokens
    for one, both in zip(alone.log, result.log, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert both["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    ours, theirs = (load_file(folder / name / "policy" / "model.safetensors") for name in (strategy, "alone"))
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-4)
