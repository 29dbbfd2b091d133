"""The checkpoints of a training, in the run's own storage: a file system or an object store.

On a file system that all nodes share, the trainer writes there itself. For an object store each worker copies its
files, and then the first one marks the checkpoint complete; a checkpoint without the mark is ignored.
"""

from pathlib import Path
from typing import Any

from rlaif.io.files import filesystem, is_url, join, names, read_bytes, write_bytes

_MARK = "complete"
KEPT = 2
"""Checkpoints that are kept, the newest ones."""


class Checkpoints:
    """The checkpoints of one training.

    Args:
        path: directory or fsspec URL in the run; None keeps none.
        scratch: a folder of this worker alone.
        rank: of this worker.
    """

    def __init__(self, path: str | None, scratch: str, rank: int) -> None:
        self._kept = path is not None
        self._url = path if path is not None and is_url(path) else None
        self._rank = rank
        self.folder = scratch if self._url is not None or path is None else path
        """Where the trainer writes."""

    def last(self) -> str | None:
        """Return the folder of the last complete checkpoint, fetched from an object store; None without one."""
        from transformers.trainer_utils import get_last_checkpoint

        if self._url is not None:
            self._fetch(self._url)
        if not self._kept or not Path(self.folder).is_dir():
            return None
        found: str | None = get_last_checkpoint(self.folder)
        return found

    def callbacks(self) -> list[Any]:
        """Return the trainer's callbacks for written checkpoints."""
        from transformers import TrainerCallback

        checkpoints = self

        class Upload(TrainerCallback):  # type: ignore[misc]
            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                checkpoints._upload(state.global_step)

        return [Upload()] if self._url is not None else []

    def _upload(self, step: int) -> None:
        import torch.distributed as dist

        assert self._url is not None
        url = join(self._url, _name(step))
        system, path = filesystem(url)
        written = Path(self.folder, _name(step))
        for file in sorted(file for file in written.rglob("*") if file.is_file()):
            target = f"{path}/{file.relative_to(written)}"
            system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            system.put_file(str(file), target)
        if dist.is_initialized():
            dist.barrier()
        if self._rank == 0:
            write_bytes(join(url, _MARK), b"")
            for old in self._complete(self._url)[:-KEPT]:
                system.rm(filesystem(join(self._url, _name(old)))[1], recursive=True)

    def _complete(self, url: str) -> list[int]:
        """Return the steps of the complete checkpoints, in order."""
        steps = [int(name.removeprefix("checkpoint-")) for name in names(url) if name.startswith("checkpoint-")]
        return [step for step in sorted(steps) if read_bytes(join(url, _name(step), _MARK)) is not None]

    def _fetch(self, url: str) -> None:
        complete = self._complete(url)
        if not complete:
            return
        name = _name(complete[-1])
        system, path = filesystem(join(url, name))
        for found in system.find(path):
            target = Path(self.folder, name, found.split(f"{name}/", 1)[1])
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(found, str(target))


def _name(step: int) -> str:
    return f"checkpoint-{step}"
