"""The run directory: where each file of a run lies, which stages are done, and which policy is the current one.

Invariant: a stage of a round is done when the round's manifest says so, and the manifest says so only after all files
of the stage are written. A run that starts again therefore continues with the first stage that is not marked.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rlaif.errors import UserError
from rlaif.io.files import is_url, join, names, read_bytes, write_bytes
from rlaif.store.events import EventLog
from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.round_records import PolicyRecord, RoundRecord, Stage, StageRecord
from rlaif.store.records.run_records import RunRecord, RunState


class RoundDir:
    """A round's folder within a run's."""

    def __init__(self, run: str, number: int) -> None:
        self.number = number
        self.root = join(run, f"round-{number:03d}")

    def path(self, *parts: str) -> str:
        return join(self.root, *parts)

    def record(self) -> RoundRecord:
        """Return `manifest.json`; a record without stages if the round has not begun."""
        return RoundRecord.read(self.path("manifest.json")) or RoundRecord(round=self.number)

    def done(self, stage: Stage) -> bool:
        return stage in self.record().done

    def begin(self, objective: str, phase: str | None, expected: tuple[Stage, ...]) -> None:
        """Record what a round that begins consists of."""
        record = self.record()
        if not record.done:
            update = {"objective": objective, "phase": phase, "expected": expected}
            record.model_copy(update=update).write(self.path("manifest.json"))

    def mark(self, stage: StageRecord) -> None:
        self.record().with_stage(stage).write(self.path("manifest.json"))

    def trained_policy(self) -> PolicyWeights | None:
        """Return the policy that the round has trained, or None if it has trained none."""
        record = PolicyRecord.read(self.path("policy.json"))
        if record is None:
            return None
        return PolicyWeights(record.id, record.kind, self.path("policy"), record.probe, serial=self.number + 1)

    @property
    def rejected(self) -> bool:
        """Whether the round has trained a policy that did not pass the gate."""
        return self.record().promoted is False and self.trained_policy() is not None


class RunDir:
    """A run's folder, given by its path on a file system or its URL in an object store."""

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        self.events = EventLog(self.path("events.jsonl"))

    def path(self, *parts: str) -> str:
        return join(self.root, *parts)

    def round(self, number: int) -> RoundDir:
        return RoundDir(self.root, number)

    def rounds(self) -> list[RoundDir]:
        """Return the rounds that have begun, in order."""
        found = [name for name in names(self.root) if name.startswith("round-")]
        return [self.round(int(name.removeprefix("round-"))) for name in found]

    def current_policy(self, base_id: str, before: int) -> tuple[PolicyWeights, RoundDir | None]:
        """Return the policy that round `before` samples from, and the round that trained it (None: the initial one)."""
        for directory in reversed(self.promoted_rounds(before)):
            if (policy := directory.trained_policy()) is not None:
                return policy, directory
        return PolicyWeights(base_id, "base"), None

    def promoted_rounds(self, before: int) -> list[RoundDir]:
        """Return the rounds before one whose policies were promoted, in order."""
        return [entry for entry in self.rounds() if entry.number < before and entry.record().promoted]

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
        write_bytes(self.path("recipe.yaml"), text.encode())

    @property
    def local(self) -> bool:
        return not is_url(self.root)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep a second driver out of the run: by an flock on a file system, which ends with its process."""
        if not self.local:
            yield
            return
        os.makedirs(self.root, exist_ok=True)
        with open(self.path(".lock"), "w", encoding="utf-8") as file:
            # A driver that was killed a moment ago may still be ending.
            for _ in range(20):
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    time.sleep(0.1)
            else:
                raise UserError(f"{self.root}: another process is running this run")
            yield


def find_run(run: str, runs: str) -> RunDir:
    """Return a run given by its name in the folder `runs`, or by its own path or URL.

    Raises:
        UserError: there is no such run, and the message names those in the folder; or `run.json` cannot be read.
    """
    directory = RunDir(run if is_url(run) or "/" in run else join(runs, run))
    if directory.record() is None:
        found = ", ".join(entry.root.rsplit("/", 1)[-1] for entry in list_runs(runs)) or "none"
        raise UserError(f"{directory.root}: no run there; expected a run's path, or its name in {runs}: {found}")
    return directory


def list_runs(runs: str) -> list[RunDir]:
    """Return the runs in a folder, by name."""
    found = [RunDir(join(runs, name)) for name in names(runs)]
    return [run for run in found if names(run.root, "run.json")]
