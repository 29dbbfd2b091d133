"""A training under Ray Train, from the driver's side."""

import os
from collections.abc import Sequence
from typing import Any

from rlaif.training.dpo.job import TrainingJob, TrainingResult
from rlaif.training.groups import Group
from rlaif.training.workers import OnStep, TrainingWorkers


async def train(workers: TrainingWorkers, job: TrainingJob, on_step: OnStep, **watched: Any) -> TrainingResult:
    """Run a DPO training and return what came of it; see `TrainingWorkers.run`, also for `watched`."""
    from rlaif.training.dpo.worker import train_loop

    return TrainingResult.from_json(await workers.run(train_loop, job, on_step, **watched))


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

    from rlaif.models.dtype import weights_dtype
    from rlaif.models.resolve import resolve_model
    from rlaif.training.dpo.reference import score_groups
    from rlaif.training.models import load_model

    if not gpu:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
    loaded = load_model(resolve_model(model, revision), weights_dtype(dtype, gpu), gpu)
    return score_groups(loaded, groups, max_tokens, gpu)
