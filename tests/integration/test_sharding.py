"""Two workers that share one model (FSDP2 under gloo) train what one worker trains, whatever is trained."""

import json
import os
import random
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch.multiprocessing import ProcessExitedException
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from rlaif.recipe import LoraSection, TrainersSection, TrainingSection
from rlaif.store.schemas import PAIRS
from rlaif.store.shards import write_table
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.groups import Group, Pair
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.kernels.attention import attention_of
from rlaif.training.models import load_policy
from rlaif.training.sharding import BFLOAT16_PASSES, shard_model
from rlaif.training.shared_prompt import candidate_logps, pack_row
from rlaif.training.trainer import Checkpoints
from tests.tiny import save_chat_model, tiny_llama
from tests.workers import in_workers

Job = TrainingJob[TrainingSection]

SHARDED = TrainersSection(workers=2, strategy="fsdp")
LORA = LoraSection(rank=4)
# What is trained, whether its input and output embeddings are one, and where the reference comes from.
CASES: dict[str, dict[str, Any]] = {
    "full weights": {"lora": None, "tied": False, "reference": "initial"},
    "full weights, tied, checkpointing": {
        "lora": None, "tied": True, "reference": "previous", "gradient_checkpointing": True,
    },
    "adapter, tied": {"lora": LORA, "tied": True, "reference": "initial"},
    "adapter, checkpointing": {"lora": LORA, "tied": False, "reference": "previous", "gradient_checkpointing": True},
    "adapter that goes on": {"lora": LORA, "tied": True, "reference": "previous", "start": "adapter, tied"},
}  # fmt: skip
KILLED = "full weights, tied, checkpointing"
# Stops before its last step, with its checkpoints in an object store.
STOPPED = "adapter, checkpointing"


def make_job(folder: Path, name: str) -> Job:
    """A job of one worker; its pairs and models lie in the folder."""
    case = CASES[name]
    start = StartingWeights(str(folder / ("tied" if case["tied"] else "untied")), None, "float32")
    if "start" in case:
        start = replace(start, path=str(folder / case["start"] / "alone"), id="first")
    options = {key: value for key, value in case.items() if key not in ("tied", "start")}
    settings = TrainingSection(
        learning_rate=1e-3, schedule="constant", warmup=0.0, questions_per_step=3, epochs=2, max_tokens_per_pack=64,
        sft_weight=0.1, **options,
    )  # fmt: skip
    return TrainingJob(
        start=start, rows=str(folder / name / "pairs.parquet"), out=str(folder / name / "alone"), settings=settings,
        seed=3, gpu=False, workers=TrainersSection(),
    )  # fmt: skip


def shared(job: Job, name: str = "together") -> Job:
    """The same job for two workers that share the model, with a copy of its pairs without a stored reference."""
    folder = Path(job.out).parent
    (folder / name).mkdir(exist_ok=True)
    write_pairs(folder / name / "pairs.parquet")
    return replace(job, rows=str(folder / name / "pairs.parquet"), out=str(folder / name / "policy"), workers=SHARDED)


def write_pairs(path: Path) -> None:
    """Five unequal groups, two to four answers each, with references far from any model's."""
    draw = random.Random(0)
    rows = []
    for group in range(5):
        prompt = [draw.randrange(6, 60) for _ in range(6 + 3 * group)]
        answers = [[draw.randrange(6, 60) for _ in range(4 + 3 * i)] for i in range(2 + group % 3)]
        for rejected in range(1, len(answers)):
            row = dict.fromkeys(PAIRS.names) | {
                "pair_id": f"{group}-0-{rejected}", "prompt_token_ids": prompt, "chosen_token_ids": answers[0],
                "rejected_token_ids": answers[rejected], "ref_chosen_logp": -500.0, "ref_rejected_logp": -500.0,
            }  # fmt: skip
            rows.append(row)
    write_table(str(path), pa.Table.from_pylist(rows, schema=PAIRS))


def train(rank: int, jobs: dict[str, Job], folder: Path, killed: Job | None) -> None:
    """Train the jobs, and one more in which the first worker is killed at its third step."""
    results = {}
    for name, job in jobs.items():
        results[name] = train_dpo(job, Worker(rank, dist.get_world_size()))
        dist.barrier()
    if rank == 0:
        torch.save(results, folder / "results.pt")
    if killed is not None:
        train_dpo(killed, Worker(rank, dist.get_world_size(), die_at_third_step if rank == 0 else None))


def die_at_third_step(entry: dict[str, float]) -> None:
    if entry["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)


def results_in(folder: Path) -> dict[str, DpoResult]:
    results: dict[str, DpoResult] = torch.load(folder / "results.pt", weights_only=False)
    return results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharding")
    words = [f"word{number}" for number in range(60)]
    for name in ("tied", "untied"):
        save_chat_model(folder / name, words, tie_word_embeddings=name == "tied")
    for name in CASES:
        (folder / name).mkdir()
        write_pairs(folder / name / "pairs.parquet")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, DpoResult]:
    return {name: train_dpo(make_job(folder, name), Worker()) for name in CASES}


def interrupted(folder: Path) -> Job:
    """A job with a checkpoint at every step, whose first worker dies at the third of four."""
    job = shared(make_job(folder, KILLED), "killed")
    settings = job.settings.model_copy(update={"checkpoint_steps": 1})
    return replace(job, settings=settings, checkpoints=str(folder / "checkpoints"))


def stopped(folder: Path) -> Job:
    job = shared(make_job(folder, STOPPED), "stopped")
    settings = job.settings.model_copy(update={"checkpoint_steps": 1})
    return replace(job, settings=settings, checkpoints=f"local://{folder}/stopped")


@pytest.fixture(scope="module")
def together(folder: Path, alone: dict[str, DpoResult]) -> dict[str, DpoResult]:
    """The results of two workers, whose last training was interrupted."""
    jobs = {name: shared(make_job(folder, name)) for name in CASES} | {"stopped": stopped(folder)}
    with pytest.raises(ProcessExitedException):
        in_workers(train, 2, jobs, folder, interrupted(folder))
    return results_in(folder)


def weights(job: Job) -> dict[str, torch.Tensor]:
    return load_file(Path(job.out) / ("adapter_model.safetensors" if job.settings.lora else "model.safetensors"))


def assert_same(job: Job, result: DpoResult, other: Job, expected: DpoResult) -> None:
    """Losses, gradients' norms and saved weights agree to 1e-4, and the log-probabilities of the probe."""
    assert [entry["step"] for entry in result.log] == [1, 2, 3, 4]
    for one, both in zip(expected.log, result.log, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert both["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-4)
    ours, theirs = weights(job), weights(other)
    assert ours.keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-4)
    for sharded, whole in zip(result.probe.sequences, expected.probe.sequences, strict=True):
        assert sharded.before == pytest.approx(whole.before, abs=1e-4)
        assert sharded.after == pytest.approx(whole.after, abs=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_two_workers_train_the_weights_of_one(
    name: str, folder: Path, alone: dict[str, DpoResult], together: dict[str, DpoResult]
) -> None:
    job = make_job(folder, name)
    assert together[name].reference == "trainer"
    assert alone[name].log[-1]["loss"] != pytest.approx(alone[name].log[0]["loss"], rel=1e-3)
    assert_same(shared(job), together[name], job, alone[name])


def configuration(job: Job) -> dict[str, Any]:
    """The saved model's or adapter's configuration."""
    found: dict[str, Any] = json.loads(
        (Path(job.out) / ("adapter_config.json" if job.settings.lora else "config.json")).read_text()
    )
    return found | {"target_modules": sorted(found.get("target_modules", []))}  # peft's is a set.


def test_a_saved_policy_is_as_one_worker_saves_it(folder: Path, together: dict[str, DpoResult]) -> None:
    """Full weights load in transformers; of an adapter the adapter alone is saved."""
    for name, case in CASES.items():
        job = make_job(folder, name)
        assert sorted(together[name].files) == sorted(path.name for path in Path(job.out).iterdir())
        assert configuration(shared(job)) == configuration(job)
        if case["lora"] is None:
            model = AutoModelForCausalLM.from_pretrained(shared(job).out)
            assert type(model).__name__ == "LlamaForCausalLM"
            assert (model.lm_head.weight is model.model.embed_tokens.weight) == case["tied"]


def test_a_checkpoint_is_each_workers_own_shards(folder: Path, together: dict[str, DpoResult]) -> None:
    """Nothing is gathered for it, and of the kill nothing but checkpoints remains."""
    assert not Path(interrupted(folder).out).exists()
    checkpoints = Path(folder / "checkpoints")
    assert {path.name for path in checkpoints.iterdir()} == {"checkpoint-1", "checkpoint-2"}
    written = {path.name for path in (checkpoints / "checkpoint-2" / "sharded_model").iterdir()}
    assert written == {".metadata", "__0_0.distcp", "__1_0.distcp"}


@pytest.fixture(scope="module")
def later(folder: Path, together: dict[str, DpoResult]) -> dict[str, Any]:
    """What two new workers find: they continue the killed training, and more."""
    save_large_model(folder / "large")
    # A kill while a checkpoint is written leaves a part of it, and one may stop after any.
    (folder / "checkpoints" / "checkpoint-3" / "sharded_model").mkdir(parents=True)
    shutil.rmtree(folder / "stopped" / "checkpoint-4")
    in_workers(
        second_life, 2, interrupted(folder), stopped(folder), folder, torch.zeros(2, dtype=torch.int64).share_memory_()
    )
    found: dict[str, Any] = torch.load(folder / "later.pt", weights_only=False)
    return found


def second_life(rank: int, killed: Job, stopped: Job, folder: Path, anonymous: torch.Tensor) -> None:
    found: dict[str, Any] = {KILLED: continued(rank, killed), STOPPED: continued(rank, stopped)}
    found["bfloat16"] = {adapter: bfloat16_passes(rank, adapter) for adapter in (False, True)}
    found["peak"] = peak_of_loading(rank, folder / "large", anonymous)
    if rank == 0:
        torch.save(found, folder / "later.pt")


def continued(rank: int, job: Job) -> tuple[list[float], DpoResult]:
    """The steps that were taken, and the result."""
    steps: list[float] = []
    result = train_dpo(job, Worker(rank, 2, lambda entry: steps.append(entry["step"])))
    return steps, result


def test_a_killed_training_continues_from_its_shards(
    folder: Path, alone: dict[str, DpoResult], later: dict[str, Any]
) -> None:
    steps, result = later[KILLED]
    assert steps == [3, 4]
    assert_same(interrupted(folder), result, make_job(folder, KILLED), alone[KILLED])


def test_an_adapters_training_continues_from_shards_in_an_object_store(
    folder: Path, alone: dict[str, DpoResult], later: dict[str, Any]
) -> None:
    steps, result = later[STOPPED]
    assert steps == [4]
    assert_same(stopped(folder), result, make_job(folder, STOPPED), alone[STOPPED])


def test_a_checkpoint_of_the_other_strategy_is_ignored(folder: Path, later: dict[str, Any]) -> None:
    checkpoints = str(folder / "checkpoints")
    assert Checkpoints(checkpoints, "", 0, sharded=True).last() == f"{checkpoints}/checkpoint-4"
    assert Checkpoints(checkpoints, "", 0).last() is None


def bfloat16_passes(rank: int, adapter: bool) -> dict[str, torch.Tensor]:
    """The first group's log-probabilities in bfloat16 passes, and those of one model in float32 passes."""
    with torch.device("meta" if rank else "cpu"):
        model = tiny_model(adapter)
    shard_model(model, torch.device("cpu"), BFLOAT16_PASSES)
    groups = [Group((5, 6, 7), ((8, 9, 10, 11), (12, 13)), (Pair("p", 0, 1, -9.0, -5.0),))]
    logps = candidate_logps(model, pack_row(groups), attention_of(model))
    logps.sum().backward()
    exact = tiny_model(adapter)
    with torch.no_grad():
        expected = candidate_logps(exact, pack_row(groups), attention_of(exact))
    gradients = [weight.grad for weight in model.parameters() if weight.requires_grad]
    return {"logps": logps.detach(), "expected": expected, "gradient": gradients[0].full_tensor()}


def tiny_model(adapter: bool) -> Any:
    model = tiny_llama()
    if not adapter:
        return model
    model.to(torch.bfloat16)
    config = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


@pytest.mark.parametrize("adapter", [False, True], ids=["full", "adapter"])
def test_bfloat16_passes_give_float32_log_probabilities_and_gradients(adapter: bool, later: dict[str, Any]) -> None:
    """FSDP2's usual policy returns and sums in bfloat16, in which the log-probabilities cannot be added up."""
    found = later["bfloat16"][adapter]
    assert found["logps"].dtype == found["gradient"].dtype == torch.float32
    assert not torch.equal(found["logps"], found["logps"].bfloat16().float())
    torch.testing.assert_close(found["logps"], found["expected"], rtol=0.05, atol=0.2)


def save_large_model(folder: Path) -> None:
    """Random weights of 15 million parameters, in bfloat16."""
    config = LlamaConfig(vocab_size=2000, hidden_size=512, intermediate_size=1024, num_hidden_layers=6)
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)


def peak_of_loading(rank: int, model: Path, anonymous: torch.Tensor) -> float:
    """Load full weights, and return the most memory that both workers took together, in copies of the model."""
    start, ready = own_memory(), threading.Event()
    most = 0

    def watch() -> None:
        nonlocal most
        while not ready.is_set():
            anonymous[rank] = own_memory() - start
            most = max(most, int(anonymous.sum()))
            time.sleep(0.001)

    dist.barrier()
    watcher = threading.Thread(target=watch)
    watcher.start()
    loaded = load_policy(StartingWeights(str(model), None, "float32"), str(model), None, gpu=False, sharded=True)
    dist.barrier()
    ready.set()
    watcher.join()
    return most / sum(weight.numel() * weight.element_size() for weight in loaded.parameters())


def own_memory() -> int:
    """This process's memory without mapped files, in bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here")
def test_both_workers_together_hold_one_copy_of_the_model(later: dict[str, Any]) -> None:
    print(f"loading a model for two workers took {later['peak']:.2f} copies of it at most")
    assert later["peak"] < 1.3
