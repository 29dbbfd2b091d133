"""The Ray cluster that a command works on: joined or started for the length of a block."""

import logging
import os
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from rlaif.errors import UserError, WorkError, first_line

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


@contextmanager
def ray_cluster(address: str | None, verbose: bool = False) -> Iterator[None]:
    """Join the Ray cluster at an address, or start one on this machine, for the length of a block.

    Args:
        address: as `ray.init` takes it (`auto`, `HOST:PORT`, `ray://...`); None starts a cluster of this machine alone.
        verbose: let the actors' output through to the terminal.
    """
    for name, value in ENVIRONMENT.items():
        if not name.startswith("MALLOC"):
            os.environ.setdefault(name, value)
    # Ray reads it before `ray.init`; set to 1, it would hide the GPU variables from actors on CPU nodes.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # A job's driver merges its runtime environment with the submitted one; on a conflict the driver wins.
    os.environ.setdefault("RAY_OVERRIDE_JOB_RUNTIME_ENV", "1")
    import ray

    forwarded = {name: os.environ[name] for name in ("RLAIF_CACHE", "HF_HOME", "HF_HUB_OFFLINE") if name in os.environ}
    options: dict[str, Any] = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
        "runtime_env": {"env_vars": {**ENVIRONMENT, **forwarded}},
    }
    if address is None:
        options["include_dashboard"] = False
        # A local node gets no preemption notice, and the watcher would be one more process.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    else:
        _check_listens(address)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Without an address Ray would join the cluster that this machine ran last, even if it is gone.
            ray.init(address=address or "local", **options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray cluster answers at {address or 'this machine'}: {first_line(error)}") from None
    # Ray replaces the handler by one that ends the process before the run can record it.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        ray.shutdown()


def _check_listens(address: str) -> None:
    """Raise UserError if nothing listens at a `HOST:PORT`; Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"no Ray cluster answers at {address}: {error}") from None


def uses_gpus(device: Literal["auto", "cpu", "gpu"]) -> bool:
    """Whether engines and workers run on GPUs under a recipe's `cluster.device`; call it in a `ray_cluster`."""
    import ray

    found = ray.cluster_resources().get("GPU", 0) > 0
    if device == "gpu" and not found:
        raise WorkError("cluster.device is gpu, but the Ray cluster has no GPU")
    return found and device != "cpu"
