"""A training worker: a process of Ray Train that takes one training after another from the mailbox.

Invariant: the first worker leaves exactly one outcome for each task that it ends. An error that a person can act on is
an outcome; every other exception ends the worker, and Ray Train starts another.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from rlaif.errors import RlaifError, is_disk_full
from rlaif.training.job import Worker
from rlaif.training.mailbox import Outcome, Task

R = TypeVar("R")


def serve(config: dict[str, Any]) -> None:
    """Work on the tasks of the mailbox `config["mailbox"]` until it is closed."""
    import ray

    mailbox = config["mailbox"]
    # Every training needs these; imported before there is one.
    import peft  # noqa: F401
    from trl import DPOTrainer  # noqa: F401

    # A worker that replaces a lost one starts with the task that was lost.
    done = ray.get(mailbox.done.remote())
    while (task := ray.get(mailbox.next.remote(done))) is not None:
        _work_on(task, mailbox)
        done = task.number
        _release_memory()


def _work_on(task: Task, mailbox: Any) -> None:
    import ray
    import ray.train

    context = ray.train.get_context()
    first = context.get_world_rank() == 0
    if first:
        ray.get(mailbox.begin.remote())
    if not task.job.gpu:
        set_threads(task.job.workers.threads, context.get_local_world_size())
    worker = Worker(context.get_world_rank(), context.get_world_size(), mailbox.put.remote if first else None)
    try:
        result = task.train(task.job, worker)
    except (RlaifError, OSError) as error:
        if isinstance(error, OSError) and not is_disk_full(error):
            raise
        ray.get(mailbox.finish.remote(Outcome(error=error)))
        return
    if first:
        ray.get(mailbox.finish.remote(Outcome(result)))


def set_threads(threads: int | None, sharers: int = 1) -> None:
    """Set torch's threads; None gives this process a fair share of the node's cores among its `sharers`."""
    import torch

    torch.set_num_threads(threads or max(1, len(os.sched_getaffinity(0)) // sharers))


async def run_once(function: Callable[[], R], *, gpu: bool) -> R:
    """Run a function in one Ray task, with a GPU where the trainer has them: the driver's node may lack one."""
    import ray

    task = ray.remote(num_cpus=1 if gpu else 0, num_gpus=1 if gpu else 0)(lambda: function())
    result: R = await task.remote()
    return result


def _release_memory() -> None:
    """Return a training's memory to the system; the engines may need it until the next one."""
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # `rlaif.cluster.ray_cluster.ENVIRONMENT` has the allocator keep freed memory unless asked.
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
