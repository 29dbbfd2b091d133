"""The run directory: what a run leaves behind and finds again.

Invariant: a stage of a round is done when the round's manifest says so, and the manifest says so only after all that
the stage made is in its place. Starting again therefore continues at the first stage that is not marked.
"""

import time
from collections.abc import Mapping
from typing import Any, Literal

from rlaif.io.files import is_url, join, names, read_bytes, read_json, write_bytes, write_json
from rlaif.store.event_log import EventLog
from rlaif.store.events import now

Stage = Literal["sample", "judge", "pairs", "train", "evaluate", "promote"]
STAGES: tuple[Stage, ...] = ("sample", "judge", "pairs", "train", "evaluate", "promote")


class RoundDir:
    """One round's folder."""

    def __init__(self, run: str, number: int) -> None:
        self.number = number
        self.place = join(run, f"round-{number:03d}")

    def path(self, *parts: str) -> str:
        """Return the place of a file of the round."""
        return join(self.place, *parts)

    def manifest(self) -> dict[str, Any]:
        """Return the manifest; an empty one where the round has not begun."""
        return read_json(self.path("manifest.json")) or {"round": self.number, "stages": {}, "promoted": None}

    def done(self, stage: Stage) -> bool:
        """Whether a stage is marked as done."""
        return stage in self.manifest()["stages"]

    def mark(self, stage: Stage, counts: Mapping[str, Any], **fields: Any) -> None:
        """Mark a stage as done, with what it counted; `fields` go into the manifest itself."""
        manifest = self.manifest()
        manifest["stages"][stage] = {"done": now(), **counts}
        write_json(self.path("manifest.json"), {**manifest, **fields})


class RunDir:
    """A run's folder, on a file system or an object store.

    Args:
        place: path or URL of the run.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/")
        self.events = EventLog(self.path("events.jsonl"))

    def path(self, *parts: str) -> str:
        """Return the place of a file of the run."""
        return join(self.place, *parts)

    def round(self, number: int) -> RoundDir:
        """Return a round's folder."""
        return RoundDir(self.place, number)

    def rounds(self) -> list[RoundDir]:
        """Return the rounds that have begun, in order."""
        found = [name for name in names(self.place) if name.startswith("round-")]
        return [RoundDir(self.place, int(name.removeprefix("round-"))) for name in found]

    def identity(self) -> dict[str, Any] | None:
        """Return `run.json`, or None where the run has not begun."""
        value: dict[str, Any] | None = read_json(self.path("run.json"))
        return value

    def write_identity(self, identity: Mapping[str, Any]) -> None:
        """Write `run.json`."""
        write_json(self.path("run.json"), dict(identity))

    def set_state(self, state: Literal["running", "finished", "stopped", "interrupted", "failed"]) -> None:
        """Record how the run stands."""
        self.write_identity({**(self.identity() or {}), "state": state})

    def recipe_text(self) -> str | None:
        """Return the resolved recipe that the run was begun with."""
        data = read_bytes(self.path("recipe.yaml"))
        return None if data is None else data.decode()

    def write_recipe(self, text: str) -> None:
        """Write the resolved recipe."""
        write_bytes(self.path("recipe.yaml"), text.encode())

    @property
    def local(self) -> bool:
        """Whether the run lies on a file system."""
        return not is_url(self.place)

    def lock(self) -> "RunLock":
        """Return the lock that keeps two drivers from writing to one run."""
        return RunLock(self)


class RunLock:
    """Keeps a second driver out of a run: an flock on a file system, which dies with its process."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._file: Any = None

    def __enter__(self) -> "RunLock":
        if not self._run.local:
            return self
        import fcntl
        import os

        from rlaif.errors import UserError

        os.makedirs(self._run.place, exist_ok=True)
        self._file = open(self._run.path(".lock"), "w", encoding="utf-8")
        # A driver that was killed a moment ago may not be gone yet.
        for attempt in range(20):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except OSError:
                if attempt == 19:
                    self._file.close()
                    raise UserError(f"{self._run.place}: another process is running this run") from None
                time.sleep(0.1)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
