"""Real trainings under Ray Train: their results, however many workers share the work."""

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from rlaif.errors import WorkError
from rlaif.models.resolve import weights_id
from rlaif.recipe import LoraSection, TrainersSection, TrainingSection
from rlaif.store.schemas import PAIRS
from rlaif.store.shards import write_table
from rlaif.training.dpo.train import DpoResult, train_dpo
from rlaif.training.job import StartingWeights, TrainingJob
from rlaif.training.workers import TrainingWorkers

pytestmark = pytest.mark.usefixtures("ray_here")


def write_pairs(path: Path, logp: float = -100.0) -> None:
    """Unequal groups: prompts and answers of different lengths, one to six pairs each."""
    draw = random.Random(0)
    rows = []
    for group in range(5):
        prompt = [draw.randrange(100, 40_000) for _ in range(20 + 11 * group)]
        answers = [[draw.randrange(100, 40_000) for _ in range(4 + 3 * i)] for i in range(2 + group % 3)]
        for chosen in range(len(answers)):
            for rejected in range(chosen + 1, len(answers)):
                row = dict.fromkeys(PAIRS.names)
                row |= {
                    "pair_id": f"{group}-{chosen}-{rejected}",
                    "prompt_token_ids": prompt,
                    "chosen_token_ids": answers[chosen],
                    "rejected_token_ids": answers[rejected],
                    "ref_chosen_logp": logp,
                    "ref_rejected_logp": logp,
                }
                rows.append(row)
    write_table(str(path), pa.Table.from_pylist(rows, schema=PAIRS))


def job(folder: Path, name: str, **changes: object) -> TrainingJob[TrainingSection]:
    training = TrainingSection(
        learning_rate=1e-4, schedule="constant", warmup=0.0, questions_per_step=3, reference="initial",
        max_tokens_per_pack=120, sft_weight=0.1, lora=LoraSection(rank=4),
    )  # fmt: skip
    base = TrainingJob(
        start=StartingWeights("builtin:smollm2-135m", None, "float32"), rows=str(folder / "pairs.parquet"),
        out=str(folder / name), settings=training, seed=3, gpu=False, workers=TrainersSection(),
    )  # fmt: skip
    return replace(base, **changes)


class Driver:
    """Hands trainings to one group of workers after another, as a run does round by round."""

    def __init__(self, workers: int) -> None:
        self._runner = asyncio.Runner()
        self.group = TrainingWorkers(TrainersSection(workers=workers), gpu=False)

    def run(self, job: TrainingJob[TrainingSection]) -> DpoResult:
        steps: list[dict[str, float]] = []
        result = self.watch(job, steps.append)
        assert [step["step"] for step in steps] == list(range(1, result.steps + 1))
        return result

    def watch(self, job: TrainingJob[TrainingSection], on_step: Callable[[dict[str, float]], None]) -> DpoResult:
        return self._runner.run(self.group.run(train_dpo, job, on_step))

    def stop(self) -> None:
        self._runner.run(self.group.stop())


@pytest.fixture(scope="module")
def driver(ray_here: None) -> Iterator[Driver]:
    driver = Driver(workers=1)
    yield driver
    driver.stop()


def is_training_worker(process: psutil.Process) -> bool:
    try:
        return "RayTrainWorker" in " ".join(process.cmdline())
    except psutil.Error:
        return False  # It has just ended.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    write_pairs(folder / "pairs.parquet")
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, driver: Driver) -> DpoResult:
    return driver.run(job(folder, "alone"))


def test_starts_at_log_two_from_the_initial_reference(alone: DpoResult) -> None:
    """Policy and reference are one model at first, so every margin is zero and DPO's loss is log 2 and the NLL."""
    assert abs(alone.log[0]["margin"]) < 1e-4
    assert alone.units == 14
    assert alone.groups == 5
    assert alone.steps == 2


def test_saved_policy_is_the_one_whose_id_is_reported(alone: DpoResult, folder: Path) -> None:
    assert weights_id(str(folder / "alone")) == alone.policy_id
    assert set(alone.files) == {path.name for path in (folder / "alone").iterdir()}


def test_a_loss_of_nan_stops_with_its_pairs_and_keeps_the_last_checkpoint(
    driver: Driver, folder: Path, tmp_path: Path
) -> None:
    wild = job(folder, "wild").settings.model_copy(
        update={"learning_rate": 1e30, "checkpoint_steps": 1, "max_grad_norm": 1e30}
    )
    with pytest.raises(WorkError, match=r"the loss of step 2 is (nan|inf); its pairs: \d-\d-\d"):
        driver.run(job(folder, "wild", settings=wild, checkpoints=str(tmp_path / "checkpoints")))
    assert not (folder / "wild").exists()
    assert (tmp_path / "checkpoints" / "checkpoint-1" / "trainer_state.json").is_file()


def test_after_a_large_mismatch_the_trainer_computes_the_reference(
    driver: Driver, folder: Path, tmp_path: Path
) -> None:
    """With references of -100 nats for every answer the trainer finds a mismatch and computes its own."""
    write_pairs(tmp_path / "pairs.parquet", logp=-100.0)
    previous = job(folder, "mismatch").settings.model_copy(update={"reference": "previous"})
    result = driver.run(job(folder, "mismatch", rows=str(tmp_path / "pairs.parquet"), settings=previous))
    assert result.reference == "trainer"
    assert result.mismatch_margin is not None
    assert result.mismatch_margin > 1
    assert abs(result.log[0]["margin"]) < 1e-4


def test_the_same_seed_gives_the_same_weights_bit_for_bit_and_finds_its_reference_stored(
    driver: Driver, alone: DpoResult, folder: Path
) -> None:
    assert alone.reference == "trainer"
    again = driver.run(job(folder, "stored"))
    assert again.reference == "stored"
    assert again.policy_id == alone.policy_id


def test_a_killed_worker_continues_from_its_checkpoint(driver: Driver, folder: Path, tmp_path: Path) -> None:
    """After a kill at the third of eight steps the weights equal those of an undisturbed training, bit for bit."""
    long = job(folder, "long").settings.model_copy(update={"epochs": 4, "checkpoint_steps": 1})
    undisturbed = driver.run(job(folder, "undisturbed", settings=long))
    seen: list[float] = []
    killed: list[int] = []

    def on_step(entry: dict[str, float]) -> None:
        seen.append(entry["step"])
        if len(seen) >= 3 and not killed:
            workers = [process for process in psutil.Process().children(recursive=True) if is_training_worker(process)]
            killed.extend(worker.pid for worker in workers)
            for worker in workers:
                worker.kill()

    # As with an object store, the next worker cannot read the killed worker's disk.
    disturbed = job(folder, "disturbed", settings=long, checkpoints=f"local://{tmp_path}/checkpoints")
    result = driver.watch(disturbed, on_step)
    assert len(killed) == 1
    assert set(seen) == set(range(1, 9))
    assert result.policy_id == undisturbed.policy_id


def test_two_workers_train_the_weights_of_one(driver: Driver, alone: DpoResult, folder: Path, tmp_path: Path) -> None:
    """They share the reference pass too, because no reference is stored beside these pairs."""
    driver.stop()  # It holds a CPU that the two need.
    write_pairs(tmp_path / "pairs.parquet")
    two = Driver(workers=2)
    together = two.run(job(folder, "together", rows=str(tmp_path / "pairs.parquet")))
    two.stop()
    assert together.reference == "trainer"
    for one, both in zip(alone.log, together.log, strict=True):
        assert both["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert both["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    for one, both in zip(alone.probe.sequences, together.probe.sequences, strict=True):
        assert both.after == pytest.approx(one.after, abs=1e-3)
        assert both.before == pytest.approx(one.before, abs=1e-3)
