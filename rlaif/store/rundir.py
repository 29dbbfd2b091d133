"""The run directory: where each file of a run lies, and which stages are done.

Invariant: a stage of a round is done when the round's manifest says so, and the manifest says so only after all files
of the stage are written. A run that starts again therefore continues with the first stage that is not marked.
"""

import fcntl
import os
import time
from typing import Any

from rlaif.errors import UserError
from rlaif.io.files import is_url, join, names, read_bytes, write_bytes
from rlaif.store.event_log import EventLog
from rlaif.store.records.round_record import RoundRecord, Stage, StageRecord
from rlaif.store.records.run_record import RunRecord, RunState


class RoundDir:
    """One round's folder."""

    def __init__(self, run: str, number: int) -> None:
        self.number = number
        self.root = join(run, f"round-{number:03d}")

    def path(self, *parts: str) -> str:
        """Return the path of a file of the round."""
        return join(self.root, *parts)

    def record(self) -> RoundRecord:
        """Return `manifest.json`; a record without stages if the round has not begun."""
        return RoundRecord.read(self.path("manifest.json")) or RoundRecord(round=self.number)

    def done(self, stage: Stage) -> bool:
        """Whether a stage is marked as done."""
        return stage in self.record().done

    def mark(self, stage: StageRecord) -> None:
        """Mark a stage as done."""
        self.record().with_stage(stage).write(self.path("manifest.json"))


class RunDir:
    """A run's folder, given by its path on a file system or its URL in an object store."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.events = EventLog(self.path("events.jsonl"))

    def path(self, *parts: str) -> str:
        """Return the path of a file of the run."""
        return join(self.root, *parts)

    def round(self, number: int) -> RoundDir:
        """Return a round's folder."""
        return RoundDir(self.root, number)

    def rounds(self) -> list[RoundDir]:
        """Return the rounds that have begun, in order."""
        found = [name for name in names(self.root) if name.startswith("round-")]
        return [RoundDir(self.root, int(name.removeprefix("round-"))) for name in found]

    def record(self) -> RunRecord | None:
        """Return `run.json`, or None if the run has not begun."""
        return RunRecord.read(self.path("run.json"))

    def write_record(self, record: RunRecord) -> None:
        """Write `run.json`."""
        record.write(self.path("run.json"))

    def set_state(self, state: RunState) -> None:
        """Record the state of a run that has begun."""
        record = self.record()
        assert record is not None
        self.write_record(record.model_copy(update={"state": state}))

    def recipe_text(self) -> str | None:
        """Return the resolved recipe that the run was started with, or None if the run has not begun."""
        data = read_bytes(self.path("recipe.yaml"))
        return None if data is None else data.decode()

    def write_recipe(self, text: str) -> None:
        """Write the resolved recipe."""
        write_bytes(self.path("recipe.yaml"), text.encode())

    @property
    def local(self) -> bool:
        """Whether the run is on a file system."""
        return not is_url(self.root)

    def lock(self) -> "RunLock":
        """Return the lock that keeps two drivers from writing to one run."""
        return RunLock(self)


class RunLock:
    """Keeps a second driver out of a run: an flock on a file system, which ends with its process."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._file: Any = None

    def __enter__(self) -> "RunLock":
        if not self._run.local:
            return self
        os.makedirs(self._run.root, exist_ok=True)
        self._file = open(self._run.path(".lock"), "w", encoding="utf-8")
        # A driver that was killed a moment ago may still be ending.
        for _ in range(20):
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return self
            except OSError:
                time.sleep(0.1)
        self._file.close()
        raise UserError(f"{self._run.root}: another process is running this run")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
