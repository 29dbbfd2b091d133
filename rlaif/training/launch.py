"""A training under Ray Train, from the driver's side."""

import asyncio
import concurrent.futures
import errno
import os
import tempfile
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from rlaif.errors import WorkError
from rlaif.recipe import TrainersSection
from rlaif.training.groups import Group
from rlaif.training.job import TrainingJob, TrainingResult

# A worker or node that dies is replaced this often before the training counts as failed.
_WORKER_FAILURES = 2


class Mailbox:
    """A Ray actor that the first training worker tells its steps and its result, and the driver asks for them.

    Ray Train returns metrics only with a checkpoint of its own, which a round does not need.
    """

    def __init__(self) -> None:
        self._entries: list[dict[str, float]] = []
        self._outcome: dict[str, Any] | None = None
        self._starts = 0

    def begin(self) -> None:
        """Tell that the workers have started, or have been started again after one was lost."""
        self._starts += 1

    def put(self, entry: dict[str, float]) -> None:
        """Leave one step's log entry."""
        self._entries.append(entry)

    def take(self) -> tuple[list[dict[str, float]], int]:
        """Return what was left since the last call, and how often the workers have started so far."""
        entries, self._entries = self._entries, []
        return entries, self._starts

    def finish(self, outcome: dict[str, Any]) -> None:
        """Leave what the training came to: {"result": ...}, {"failure": ...} or {"disk_full": the file}."""
        self._outcome = outcome

    def outcome(self) -> dict[str, Any] | None:
        """Return what `finish` left."""
        return self._outcome


async def train(
    job: TrainingJob,
    section: TrainersSection,
    on_step: Callable[[dict[str, float]], None],
    on_lost: Callable[[int], None] = lambda starts: None,
) -> TrainingResult:
    """Run a training and return what came of it.

    Args:
        job: the training.
        section: how many workers.
        on_step: called with each step's log entry as it happens.
        on_lost: called when the workers start again because one of them or its node was lost, with their number of
            starts; the steps since the last checkpoint are then taken again.

    Raises:
        WorkError: the training failed, with the reason.
        OSError: a worker's disk is full.
    """
    import ray

    mailbox = ray.remote(num_cpus=0)(Mailbox).remote()
    starts = 0
    fit = _in_thread(lambda: _fit(job, section, mailbox))
    while not fit.done():
        await asyncio.wait([fit], timeout=1.0)
        entries, now = await mailbox.take.remote()
        if now > max(1, starts):
            on_lost(now)
        starts = now
        for entry in entries:
            on_step(entry)
    await fit
    outcome: dict[str, Any] | None = await mailbox.outcome.remote()
    ray.kill(mailbox)
    if outcome is None:
        raise WorkError("the training ended without a result")
    if "disk_full" in outcome:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), outcome["disk_full"])
    if "failure" in outcome:
        raise WorkError(f"the training failed: {outcome['failure']}")
    return TrainingResult.from_json(outcome["result"])


def _in_thread(function: Callable[[], None]) -> "asyncio.Future[None]":
    """Run a function in a thread that nobody waits for: a run that is interrupted must not wait for its training."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()

    def work() -> None:
        try:
            function()
            future.set_result(None)
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, name="ray-train", daemon=True).start()
    return asyncio.wrap_future(future)


def _fit(job: TrainingJob, section: TrainersSection, mailbox: Any) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from rlaif.training.worker import train_loop

    with tempfile.TemporaryDirectory(prefix="rlaif-train-") as storage:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"job": job, "mailbox": mailbox},
            scaling_config=ScalingConfig(num_workers=section.workers, use_gpu=job.gpu),
            run_config=RunConfig(
                # A name that was used before would silently resume that training.
                name=f"rlaif-{uuid.uuid4().hex[:12]}",
                storage_path=storage,
                failure_config=FailureConfig(max_failures=_WORKER_FAILURES),
            ),
        )
        try:
            trainer.fit()
        except Exception as error:
            raise WorkError(f"the training failed: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


async def score_with_model(
    model: str, revision: str | None, dtype: str, groups: Sequence[Group], gpu: bool, max_tokens: int
) -> list[list[float]]:
    """Return the candidates' log-probabilities under a model that no engine holds, computed in one Ray task."""
    import ray

    task = ray.remote(num_cpus=1 if gpu else 0, num_gpus=1 if gpu else 0)(_score)
    result: list[list[float]] = await task.remote(model, revision, dtype, groups, gpu, max_tokens)
    return result


def _score(
    model: str, revision: str | None, dtype: str, groups: Sequence[Group], gpu: bool, max_tokens: int
) -> list[list[float]]:
    import torch

    from rlaif.engines.device import weights_dtype
    from rlaif.models.resolve import resolve_model
    from rlaif.training.models import load_model
    from rlaif.training.reference import score_groups

    if not gpu:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    loaded = load_model(resolve_model(model, revision), weights_dtype(dtype, gpu), gpu)
    return score_groups(loaded, groups, max_tokens, gpu)
