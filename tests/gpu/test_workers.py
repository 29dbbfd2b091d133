"""On CUDA: a worker of Ray Train under NCCL with bfloat16 passes, and an engine that loads its policy."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from rlaif.cluster.resources import ClusterDemand
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.inference.vllm.probe import ProbeResult
from rlaif.recipe import ClusterSection, EnginesSection, TrainersSection
from rlaif.store.policy_weights import PolicyWeights
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import StartingWeights
from rlaif.training.workers import TrainingWorkers
from tests.gpu import needs_cuda
from tests.integration.test_training import job, write_pairs

pytestmark = [needs_cuda, pytest.mark.usefixtures("ray_here")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gpu")
    write_pairs(folder / "pairs.parquet")
    return folder


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
@pytest.mark.parametrize("full", [False, True])
def test_trains_under_nccl(folder: Path, strategy: str, full: bool) -> None:
    name = f"{strategy}-{full}"
    section = TrainersSection(workers=1, strategy=strategy)
    start = StartingWeights("builtin:smollm2-135m", None, "auto")
    base = job(folder, name, gpu=True, workers=section, start=start)
    if full:
        base = replace(base, settings=base.settings.model_copy(update={"lora": None}))

    async def work() -> DpoResult:
        async with TrainingWorkers(section, gpu=True) as workers:
            return await workers.run(train_dpo, base, lambda entry: None)

    result = asyncio.run(work())
    assert result.steps == 2
    assert abs(result.log[0]["margin"]) < 0.5
    probed = asyncio.run(probe_result(base.out, result, full))
    assert probed is not None
    assert probed.told_apart
    assert probed.difference < 0.03


async def probe_result(out: str, result: DpoResult, full: bool) -> ProbeResult | None:
    """Give the policy to an engine, which compares its own log-probabilities with the trainer's."""
    section = EnginesSection(gpu_memory=0.4)
    spec = EngineSpec(
        role="policy", model="builtin:smollm2-135m", base_id="base", section=section, dtype="auto", context=512,
        max_length=400, gpu=True, lora_rank=None if full else 4,
    )  # fmt: skip
    demand = ClusterDemand(ClusterSection(), True, (section,))
    pool = EnginePool(spec, demand, attempts=1, emit=print)
    policy = PolicyWeights(result.policy_id, "full" if full else "lora", out, result.probe, 1)
    try:
        await pool.start()
        return await pool.update(policy)
    finally:
        await pool.release()
