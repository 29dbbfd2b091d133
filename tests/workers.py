"""Processes of one gloo group on this machine, as Ray Train makes them, without Ray."""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def in_workers(function: Callable[..., None], workers: int, *arguments: Any) -> None:
    """Call `function(rank, *arguments)` in each of some new processes; raises if one fails or is killed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_join, (workers, port, function, arguments), nprocs=workers)


def _join(rank: int, workers: int, port: int, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": str(rank), "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(workers), "LOCAL_WORLD_SIZE": str(workers),
    }  # fmt: skip
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=workers)
    function(rank, *arguments)
    dist.destroy_process_group()
