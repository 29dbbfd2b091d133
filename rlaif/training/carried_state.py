"""The optimizer's state that one training leaves and the next one goes on with, in the run's own storage.

Invariant: a state is marked complete after all workers have written it, and one without the mark is refused.
"""

from pathlib import Path
from typing import Any

import torch.distributed as dist

from rlaif.errors import WorkError
from rlaif.io.files import fetch_tree, filesystem, is_url, join, put_tree, read_bytes, write_bytes

_MARK = "complete"
_WHOLE, _PARTIAL = b"whole", b""


def fetch_state(path: str, scratch: str) -> str:
    """Return the local folder of a state at a path or URL.

    Raises:
        WorkError: there is none, or it is not complete.
    """
    if read_bytes(join(path, _MARK)) != _WHOLE:
        raise WorkError(f"{path}: no complete state of an optimizer; expected that of the training before")
    if not is_url(path):
        return path
    folder = Path(scratch, "state-in")
    fetch_tree(path, folder)
    return str(folder)


def store_state(trainer: Any, path: str, scratch: str) -> None:
    """Write a trainer's state to a path or URL; every worker calls."""
    first = trainer.args.process_index == 0
    folder = Path(scratch, "state-out") if is_url(path) else Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    if is_url(path):
        system, inner = filesystem(path)
        system.makedirs(inner, exist_ok=True)
    if first:
        write_bytes(join(path, _MARK), _PARTIAL)
    _together()
    trainer.save_moments(str(folder))
    if is_url(path):
        put_tree(str(folder), path)
    _together()
    if first:
        write_bytes(join(path, _MARK), _WHOLE)


def _together() -> None:
    if dist.is_initialized():
        dist.barrier()
