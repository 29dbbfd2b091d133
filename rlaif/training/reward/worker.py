"""The training loop of a reward model that Ray Train runs in each worker."""

import os
from typing import Any

from rlaif.errors import RlaifError
from rlaif.training.reward.job import RewardJob


def reward_loop(config: dict[str, Any]) -> None:
    """Train a reward model; `config` holds a `RewardJob` under "job" and the driver's mailbox under "mailbox".

    An error that a person can act on is left as a value, since to Ray every exception is a reason to try again.
    """
    import ray
    import ray.train
    import torch

    from rlaif.training.reward.trainer import train_reward_model

    job: RewardJob = config["job"]
    mailbox = config["mailbox"]
    context = ray.train.get_context()
    rank = context.get_world_rank()
    if rank == 0:
        ray.get(mailbox.begin.remote())
    if not job.gpu:
        cores = len(os.sched_getaffinity(0))
        threads = job.settings.cluster.training.threads
        torch.set_num_threads(threads or max(1, cores // context.get_local_world_size()))
    try:
        result = train_reward_model(job, context.get_world_size(), rank, mailbox.put.remote)
    except RlaifError as error:
        ray.get(mailbox.finish.remote({"failure": str(error)}))
        return
    if rank == 0:
        ray.get(mailbox.finish.remote({"result": result.to_json()}))
