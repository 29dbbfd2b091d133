"""The Ray cluster that a run works on: joined or started, and what it has."""

import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rlaif.errors import UserError, WorkError
from rlaif.recipe import Recipe

# For the driver and, through Ray's runtime environment, for every actor and worker.
ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
    # Ray Train's patched print makes the datasets hasher flood the log with disassembly.
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    # Freed memory stays with the process: giving it back and faulting it in again costs a CPU trainer up to a third.
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "268435456",
}

_CONNECT_SECONDS = 10.0


@contextmanager
def ray_cluster(address: str | None, verbose: bool = False) -> Iterator[None]:
    """Join the Ray cluster at an address, or start one on this machine, for the length of a block.

    Args:
        address: as `ray.init` takes it (`auto`, `HOST:PORT`, `ray://...`); None starts a cluster of this machine alone.
        verbose: let the actors' output through to the terminal.

    Raises:
        UserError: nothing answers at the address.
    """
    for name, value in ENVIRONMENT.items():
        if not name.startswith("MALLOC"):
            os.environ.setdefault(name, value)
    # Ray reads it before `ray.init`: with it on, an actor on a CPU node would see no GPU variable at all.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # The driver of a job joins what it asks for with what the job was submitted with, and where both speak it wins.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    import logging

    import ray

    forwarded = {name: os.environ[name] for name in ("RLAIF_CACHE", "HF_HOME", "HF_HUB_OFFLINE") if name in os.environ}
    options: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "runtime_env": {"env_vars": {**ENVIRONMENT, **forwarded}},
    }
    if address is None:
        options["include_dashboard"] = False
        # No provider takes this node back with a notice, and the watcher for one is a process with imports of its own.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    else:
        _check_listens(address)
    ours = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Without an address Ray would join whatever cluster this machine ran last, gone or not.
            ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"no Ray cluster answers at {address or 'this machine'}: {reason}") from None
    # Ray has put a handler of its own in the place of ours, which ends the process without a word to the run.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, ours)
    try:
        yield
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Refuse a `HOST:PORT` where nothing listens; Ray itself would try for minutes.

    Raises:
        UserError: with the system's reason.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from None


def uses_gpus(recipe: Recipe) -> bool:
    """Whether the run's engines and workers run on GPUs; see `takes_gpus`."""
    return takes_gpus(recipe.cluster.device)


def takes_gpus(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Whether work on a `cluster.device` runs on GPUs; call it in a `ray_cluster`.

    Raises:
        WorkError: GPUs are asked for and the cluster has none.
    """
    import ray

    there = ray.cluster_resources().get("GPU", 0) > 0
    if device == "gpu" and not there:
        raise WorkError("cluster.device is gpu, but the Ray cluster has no GPU")
    return there and device != "cpu"
