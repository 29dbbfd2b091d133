"""Trainings by policy gradients: two workers as one, an interruption as none, and a bandit that learns over rounds."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from rlaif.errors import WorkError
from rlaif.recipe import GrpoSection, LoraSection, PolicyGradientSection, PpoSection, RlooSection, TrainersSection
from rlaif.store.schemas import ROLLOUTS
from rlaif.store.shards import write_table
from rlaif.training.job import StartingWeights, TrainingJob, Worker
from rlaif.training.policy_gradient.train import PolicyGradientResult, train_policy_gradient
from tests.tiny import save_chat_model
from tests.workers import in_workers

Job = TrainingJob[PolicyGradientSection]

OFTEN: dict[str, Any] = {
    "learning_rate": 1e-3, "questions_per_step": 3, "epochs": 2, "max_tokens_per_pack": 64, "checkpoint_steps": 1,
}  # fmt: skip
SECTIONS: dict[str, PolicyGradientSection] = {
    "grpo": GrpoSection(**OFTEN, kl=0.1),
    "grpo-lora": GrpoSection(**OFTEN, lora=LoraSection(rank=4), scale="std", average="answers"),
    "rloo": RlooSection(**OFTEN, kl=0.05),
    "ppo": PpoSection(**OFTEN),
    "ppo-lora": PpoSection(**OFTEN, lora=LoraSection(rank=4)),
}


def rollout(number: int, candidate: int, prompt: list[int], answer: list[int], reward: float | None) -> dict[str, Any]:
    return dict.fromkeys(ROLLOUTS.names) | {
        "rollout_id": f"{number}-{candidate}", "prompt_id": f"q{number}", "candidate": candidate,
        "prompt_token_ids": prompt, "token_ids": answer, "reward": reward, "truncated": False,
        "logprobs": [-4.0] * len(answer), "policy": "",
    }  # fmt: skip


def write_rollouts(path: Path) -> None:
    """Five unequal groups, two to four answers each, with log-probabilities far from the model's."""
    draw = random.Random(0)
    rows = []
    for number in range(5):
        prompt = [draw.randrange(6, 60) for _ in range(6 + 3 * number)]
        for candidate in range(2 + number % 3):
            answer = [draw.randrange(6, 60) for _ in range(3 + 3 * candidate)]
            rows.append(rollout(number, candidate, prompt, answer, draw.random()))
    write_table(str(path), pa.Table.from_pylist(rows, schema=ROLLOUTS))


def make_job(folder: Path, name: str, kind: str, workers: TrainersSection | None = None) -> Job:
    own = folder / f"{kind}-{name}"
    own.mkdir(exist_ok=True)
    write_rollouts(own / "rollouts.parquet")
    return TrainingJob(
        start=StartingWeights(str(folder / "model"), None, "float32"), rows=str(own / "rollouts.parquet"),
        out=str(own / "policy"), settings=SECTIONS[kind], seed=3, gpu=False, workers=workers or TrainersSection(),
        state_out=str(own / "state"), temperature=0.7,
    )  # fmt: skip


def further(job: Job) -> Job:
    """The next training, which goes on with the policy and the optimizer's state."""
    folder = Path(job.out).parent
    start = replace(job.start, path=job.out, id="first")
    out, state = str(folder / "policy-2"), str(folder / "state-2")
    return replace(job, start=start, out=out, state_in=job.state_out, state_out=state)


def train_twice(job: Job, worker: Worker) -> tuple[PolicyGradientResult, PolicyGradientResult]:
    first = train_policy_gradient(job, worker)
    if worker.count > 1:
        dist.barrier()
    return first, train_policy_gradient(further(job), worker)


def in_each_worker(rank: int, jobs: dict[str, Job], folder: Path) -> None:
    results = {}
    for name, job in jobs.items():
        results[name] = train_twice(job, Worker(rank, dist.get_world_size()))
        dist.barrier()
    if rank == 0:
        torch.save(results, folder / "results.pt")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy-gradients")
    save_chat_model(folder / "model", [f"word{number}" for number in range(60)])
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, Any]:
    return {kind: train_twice(make_job(folder, "alone", kind), Worker()) for kind in SECTIONS}


def weights(job: Job) -> dict[str, torch.Tensor]:
    return load_file(Path(job.out) / ("adapter_model.safetensors" if job.settings.lora else "model.safetensors"))


def assert_same(job: Job, other: Job) -> None:
    ours, theirs = weights(job), weights(other)
    assert ours.keys() == theirs.keys()
    assert not any("value_head" in name for name in ours)
    for name, weight in theirs.items():
        torch.testing.assert_close(ours[name], weight, rtol=1e-4, atol=1e-4)


CASES = [
    (kind, strategy) for kind in SECTIONS for strategy in ("ddp", "fsdp") if "ppo" not in kind or strategy == "ddp"
]


@pytest.fixture(scope="module")
def together(folder: Path, alone: dict[str, Any]) -> dict[str, Any]:
    jobs = {
        f"{kind} {strategy}": make_job(folder, strategy, kind, TrainersSection(workers=2, strategy=strategy))
        for kind, strategy in CASES
    }
    in_workers(in_each_worker, 2, jobs, folder)
    found: dict[str, Any] = torch.load(folder / "results.pt", weights_only=False)
    return found


@pytest.mark.parametrize(("kind", "strategy"), CASES)
def test_two_workers_train_what_one_trains_and_go_on_with_its_moments(
    kind: str, strategy: Any, folder: Path, alone: dict[str, Any], together: dict[str, Any]
) -> None:
    for one, both in zip(alone[kind], together[f"{kind} {strategy}"], strict=True):
        assert (one.units, one.old_logps, one.alike, one.steps) == (14, "trainer", 0, 4)
        assert both.explained_variance == pytest.approx(one.explained_variance, abs=1e-4)
        for ours, theirs in zip(both.log, one.log, strict=True):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                assert ours[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    job, other = make_job(folder, strategy, kind), make_job(folder, "alone", kind)
    assert_same(job, other)
    assert_same(further(job), further(other))


def test_moments_that_are_carried_on_matter(folder: Path, alone: dict[str, Any], tmp_path: Path) -> None:
    """Another first step follows from them, at this training's own learning rate."""
    job = further(make_job(folder, "alone", "grpo"))
    anew = replace(job, state_in=None, state_out=None, out=str(tmp_path / "policy"))
    result = train_policy_gradient(anew, Worker())
    assert result.log[0]["loss"] == pytest.approx(alone["grpo"][1].log[0]["loss"], rel=1e-4)
    assert result.log[0]["lr"] == alone["grpo"][1].log[0]["lr"] == 1e-3
    assert result.log[1]["loss"] != pytest.approx(alone["grpo"][1].log[1]["loss"], rel=1e-3)
    other = replace(job, settings=SECTIONS["grpo-lora"], start=replace(job.start, path=""), out=str(tmp_path / "p"))
    with pytest.raises(WorkError, match="state of other weights; expected that of the same policy"):
        train_policy_gradient(other, Worker())
    with pytest.raises(WorkError, match="no complete state of an optimizer"):
        train_policy_gradient(replace(job, state_in=str(tmp_path)), Worker())


@pytest.mark.parametrize("kind", ["grpo-lora", "ppo", "ppo-lora"])
def test_an_interrupted_training_ends_as_one_that_was_not(kind: str, folder: Path, alone: dict[str, Any]) -> None:
    job = further(make_job(folder, "alone", kind))
    again = replace(
        job, checkpoints=f"local://{folder}/{kind}-checkpoints", out=f"{folder}/{kind}-again",
        state_in=f"local://{job.state_in}", state_out=f"local://{folder}/{kind}-state",
    )  # fmt: skip

    def interrupt(entry: dict[str, float]) -> None:
        if entry["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_policy_gradient(again, Worker(on_step=interrupt))
    steps: list[float] = []
    train_policy_gradient(again, Worker(on_step=lambda entry: steps.append(entry["step"])))
    assert steps == [3, 4]
    assert_same(again, job)
    folders = (f"{folder}/{kind}-state", str(job.state_out))
    ours, theirs = (torch.load(Path(each, "moments.pt")) for each in folders)
    assert ours["weights"] == theirs["weights"]
    torch.testing.assert_close(ours["state"], theirs["state"], rtol=1e-4, atol=1e-6)
    if "ppo" in kind:
        torch.testing.assert_close(*(torch.load(Path(each, "value_head.pt")) for each in folders))


def test_sharded_workers_have_no_value_head(folder: Path) -> None:
    job = make_job(folder, "sharded", "ppo", TrainersSection(workers=2, strategy="fsdp"))
    with pytest.raises(WorkError, match=r"expected cluster\.training\.strategy: ddp"):
        train_policy_gradient(job, Worker())


BANDITS: dict[str, Callable[[dict[str, Any]], PolicyGradientSection]] = {
    "grpo": lambda shared: GrpoSection(**shared),
    "cispo": lambda shared: GrpoSection(**shared, clip="cispo", clip_high=4.0),
    "gspo": lambda shared: GrpoSection(**shared, ratio="sequence", average="answers"),
    "rloo": lambda shared: RlooSection(**shared),
    "ppo": lambda shared: PpoSection(**shared, kl=0.0, value_learning_rate=0.01),
}


@pytest.mark.parametrize("kind", BANDITS)
def test_a_bandit_learns_the_token_that_earns(kind: str, tmp_path: Path) -> None:
    """One token of ten earns a reward; each round samples from the policy of the one before."""
    rewarded, prompts = 7, [[5, 6], [8, 6], [9, 6], [6]]
    base = save_chat_model(tmp_path / "model", ["a", "b", "c", "d"])
    shared = {"learning_rate": 5e-3, "questions_per_step": 2, "epochs": 2}
    start, state = StartingWeights(base, None, "float32"), None
    torch.manual_seed(0)
    chances = []
    for number in range(8):
        model = AutoModelForCausalLM.from_pretrained(start.path or base)
        rows = []
        with torch.no_grad():
            logps = [model(torch.tensor([prompt])).logits[0, -1].log_softmax(-1) for prompt in prompts]
        chances.append(sum(float(each[rewarded].exp()) for each in logps) / len(prompts))
        for question, (prompt, each) in enumerate(zip(prompts, logps, strict=True)):
            for candidate, token in enumerate(torch.multinomial(each.exp(), 16, replacement=True).tolist()):
                row = rollout(question, candidate, prompt, [token], float(token == rewarded))
                rows.append(row | {"logprobs": [float(each[token])], "policy": start.id})
        if chances[-1] > 0.9:
            break
        folder = tmp_path / str(number)
        folder.mkdir()
        write_table(str(folder / "rollouts.parquet"), pa.Table.from_pylist(rows, schema=ROLLOUTS))
        job = TrainingJob(
            start=start, rows=str(folder / "rollouts.parquet"), out=str(folder / "policy"),
            settings=BANDITS[kind](shared), seed=number, gpu=False, workers=TrainersSection(), state_in=state,
            state_out=str(folder / "state"),
        )  # fmt: skip
        result = train_policy_gradient(job, Worker())
        assert result.old_logps == ("trainer" if kind == "ppo" else "engine")
        start, state = replace(start, path=job.out, id=result.policy_id), job.state_out
    assert chances[0] < 0.2
    assert chances[-1] > 0.9, chances
