"""The workers of Ray Train, kept from one training to the next.

A worker's start costs a Python process and some ten seconds of imports, a round's training on a small machine less
than that. So the workers are started once, while the engines start too, and then wait for trainings.
"""

import asyncio
import ctypes
import errno
import gc
import os
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from rlaif.background import in_background
from rlaif.cluster.shortage import ResourceWait
from rlaif.errors import WorkError
from rlaif.recipe import TrainersSection
from rlaif.training.mailbox import Loop, Mailbox, News

# Workers or nodes that die are replaced this often before a training counts as failed.
_FAILURES = 2
_GOODBYE_SECONDS = 20.0
_NEVER = 1e9

OnStep = Callable[[dict[str, float]], None]
OnLost = Callable[[int], None]


def _nobody_told(starts: int) -> None:
    """Take no notice of lost workers."""


class TrainingWorkers:
    """A group of training workers.

    Args:
        section: how many workers.
        gpu: whether each has a GPU.
        fewer: whether fewer will do, where the cluster does not hold them all.
    """

    def __init__(self, section: TrainersSection, gpu: bool, fewer: bool = False) -> None:
        self._section, self._gpu, self._fewer = section, gpu, fewer
        self._mailbox: Any = None
        self._group: asyncio.Future[None] | None = None
        self._storage: tempfile.TemporaryDirectory[str] | None = None

    def start(self) -> None:
        """Start the workers where there are none, without waiting for them; call it in the driver's event loop."""
        if self._mailbox is None:
            self._mailbox = _local_actor(Mailbox)
        if self._group is None or self._group.done():
            self._storage = self._storage or tempfile.TemporaryDirectory(
                prefix="rlaif-train-", ignore_cleanup_errors=True
            )
            fit = partial(_fit, self._section.workers, self._gpu, self._fewer, self._mailbox, self._storage.name)
            self._group = in_background(fit, "ray-train")
            # A group that ends between two trainings is replaced at the next.
            self._group.add_done_callback(lambda group: group.cancelled() or group.exception())

    async def run(
        self,
        loop: Loop,
        job: Any,
        on_step: OnStep,
        on_lost: OnLost = _nobody_told,
        patience: ResourceWait | None = None,
    ) -> dict[str, Any]:
        """Run one training and return the result that the first worker left.

        Args:
            loop: called in each worker with {"job": job, "mailbox": a `Mailbox`}.
            job: what to train, as plain data.
            on_step: called with each step's log entry as it happens.
            on_lost: called when the workers start again because one of them or its node was lost, with their number
                of starts; the steps since the last checkpoint are then taken again.
            patience: looked at while no step comes: workers whose node is lost wait for another.

        Raises:
            WorkError: the training failed, with the reason, or its workers wait for longer than they may.
            OSError: a worker's disk is full.
        """
        self.start()
        await self._mailbox.give.remote(loop, job)
        starts, at_start = 0, 0
        while True:
            group = self._group
            assert group is not None
            ended = group.done()
            news: News = await self._mailbox.take.remote(0.0 if ended else 1.0)
            if news.starts > max(1, starts):
                on_lost(news.starts)
            starts = news.starts
            for entry in news.entries:
                on_step(entry)
            if news.outcome is not None:
                return _result(news.outcome)
            if patience is not None and not news.entries and patience.over():
                patience = None  # Ray Train goes on with the workers that there are.
            if ended:
                error = group.exception()
                # Losses of an earlier training may have used up what Ray Train forgives the group.
                if starts > _FAILURES or starts == at_start:
                    raise WorkError(f"the training failed: {_reason(error)}") from error
                at_start = starts
                self.start()

    async def stop(self) -> None:
        """Let the workers end and give their resources back."""
        import ray

        if self._mailbox is None:
            return
        await self._mailbox.close.remote()
        if self._group is not None:
            await asyncio.wait([self._group], timeout=_GOODBYE_SECONDS)
        ray.kill(self._mailbox)
        self._mailbox = self._group = None

    async def __aenter__(self) -> "TrainingWorkers":
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # What is interrupted or has failed does not wait for a training: its workers end with the driver.
        if kind is None:
            await self.stop()
        if self._storage is not None:
            self._storage.cleanup()


def _result(outcome: dict[str, Any]) -> dict[str, Any]:
    if "disk_full" in outcome:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), outcome["disk_full"])
    if "failure" in outcome:
        raise WorkError(f"the training failed: {outcome['failure']}")
    result: dict[str, Any] = outcome["result"]
    return result


def _reason(error: BaseException | None) -> str:
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else "its workers ended without a result"


def _local_actor(kind: type) -> Any:
    """Start an actor on the driver's own node, so that it is lost only with the driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(kind).remote()


def _fit(workers: int, gpu: bool, fewer: bool, mailbox: Any, storage: str) -> None:
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    TorchTrainer(
        serve,
        train_loop_config={"mailbox": mailbox},
        scaling_config=ScalingConfig(
            # The loss does not depend on their number. A group that works is not disturbed to make it larger.
            num_workers=(1, workers) if fewer and workers > 1 else workers,
            elastic_resize_monitor_interval_s=_NEVER,
            use_gpu=gpu,
        ),
        run_config=RunConfig(
            # A name that was used before would silently resume that training.
            name=f"rlaif-{uuid.uuid4().hex[:12]}",
            storage_path=storage,
            failure_config=FailureConfig(max_failures=_FAILURES),
        ),
    ).fit()


def serve(config: dict[str, Any]) -> None:
    """Do the mailbox's tasks one after another, in each worker, until it is closed."""
    import ray

    mailbox = config["mailbox"]
    # What every training needs, before there is one.
    import peft  # noqa: F401
    from trl import DPOTrainer  # noqa: F401

    # A worker that takes the place of a lost one starts with the task that was lost with it.
    done = ray.get(mailbox.done.remote())
    while (task := ray.get(mailbox.next.remote(done))) is not None:
        task.loop({"job": task.job, "mailbox": mailbox})
        done = task.number
        _give_memory_back()


def _give_memory_back() -> None:
    """Return a training's memory to the system: until the next one the engines may want it."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # The allocator is told to keep what it has (`rlaif.cluster.ray_cluster.ENVIRONMENT`); asked, it gives it back.
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
