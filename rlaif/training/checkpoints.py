"""Where a training's checkpoints lie: in the run, whether that is on a file system or in an object store.

On a file system that all nodes see the trainer writes there itself. For an object store each worker copies what it has
written, and when all have, the first of them marks the checkpoint: one that was cut off has no mark and is none.
"""

from pathlib import Path
from typing import Any

from rlaif.io.files import filesystem, is_url, join, names, read_bytes, write_bytes

_MARK = "complete"
_KEPT = 2


class Checkpoints:
    """The checkpoints of one training.

    Args:
        place: directory or fsspec URL in the run; None keeps none.
        scratch: a folder of this worker alone.
        rank: of this worker.
    """

    def __init__(self, place: str | None, scratch: str, rank: int) -> None:
        self.kept = place is not None
        self._url = place if place is not None and is_url(place) else None
        self._rank = rank
        self.folder = scratch if self._url is not None or place is None else place
        """Where the trainer writes."""

    def last(self) -> str | None:
        """Return the folder of the last whole checkpoint, fetched where it lies elsewhere; None where there is none."""
        from transformers.trainer_utils import get_last_checkpoint

        if self._url is not None:
            self._fetch(self._url)
        if not self.kept or not Path(self.folder).is_dir():
            return None
        found: str | None = get_last_checkpoint(self.folder)
        return found

    def callbacks(self) -> list[Any]:
        """Return what the trainer calls when it has written a checkpoint."""
        from transformers import TrainerCallback

        checkpoints = self

        class Keeper(TrainerCallback):  # type: ignore[misc]
            """Copies each checkpoint into the object store."""

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                checkpoints._keep(state.global_step)

        return [Keeper()] if self._url is not None else []

    def _keep(self, step: int) -> None:
        import torch.distributed as dist

        assert self._url is not None
        place = join(self._url, _name(step))
        system, path = filesystem(place)
        written = Path(self.folder, _name(step))
        for file in sorted(file for file in written.rglob("*") if file.is_file()):
            target = f"{path}/{file.relative_to(written)}"
            system.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
            system.put_file(str(file), target)
        if dist.is_initialized():
            dist.barrier()
        if self._rank == 0:
            write_bytes(join(place, _MARK), b"")
            for old in self._whole(self._url)[:-_KEPT]:
                system.rm(filesystem(join(self._url, _name(old)))[1], recursive=True)

    def _whole(self, url: str) -> list[int]:
        """Return the steps of the checkpoints that are whole, in order."""
        steps = [int(name.removeprefix("checkpoint-")) for name in names(url) if name.startswith("checkpoint-")]
        return [step for step in sorted(steps) if read_bytes(join(url, _name(step), _MARK)) is not None]

    def _fetch(self, url: str) -> None:
        whole = self._whole(url)
        if not whole:
            return
        name = _name(whole[-1])
        system, path = filesystem(join(url, name))
        for found in system.find(path):
            inside = found.split(f"{name}/", 1)[1]
            target = Path(self.folder, name, inside)
            target.parent.mkdir(parents=True, exist_ok=True)
            system.get_file(found, str(target))


def _name(step: int) -> str:
    return f"checkpoint-{step}"
