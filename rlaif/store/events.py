"""The events of a run: one class for each thing that happens, emitted, stored and shown from this definition.

Invariant: an event is one line of `events.jsonl`, appended as it happens, and reading that line returns an equal event.

On a file system a line is appended and flushed at once. An object store has no append: lines are gathered and the
whole file is put again at most every few seconds and at the end. A kill may lose the last lines there, never a result,
since nothing is decided from events.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from rlaif.io.files import full_disk_named, is_url, read_bytes, write_bytes

_PUT_EVERY = 5.0

EngineRole = Literal["policy", "judge"]


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Event(BaseModel):
    """Something that happened during a run. Fields that a later version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    noticed: ClassVar[bool] = False
    """Whether a person who watches the run sees the event at once."""

    time: str = Field(default_factory=now)
    event: str

    @property
    def details(self) -> str:
        """The event's fields as text, those without a value left out."""
        values: dict[str, Any] = self.model_dump(exclude={"time", "event"}, exclude_none=True)
        return ", ".join(
            str(value) if name in ("reason", "message") else f"{name} {value}" for name, value in values.items()
        )

    @property
    def notice(self) -> str | None:
        """The line that a person who watches the run sees at once, or None."""
        return f"{self.event.replace('_', ' ')}: {self.details}" if self.noticed else None


class RunStarted(Event):
    event: Literal["begin"] = "begin"
    rounds: int | None = None


class RunResumed(Event):
    event: Literal["resume"] = "resume"
    rounds: int | None = None


class RunFinished(Event):
    event: Literal["finished"] = "finished"


class RunStopped(Event):
    """The gate ended the run before its last round."""

    event: Literal["stopped"] = "stopped"
    reason: str | None = None


class RunInterrupted(Event):
    event: Literal["interrupted"] = "interrupted"
    reason: str | None = None


class RunFailed(Event):
    event: Literal["failed"] = "failed"
    reason: str | None = None


class StageEvent(Event):
    stage: str
    round: int | None = None
    """None for the evaluation of the initial policy, which belongs to no round."""


class StageStarted(StageEvent):
    event: Literal["stage_started"] = "stage_started"


class StageDone(StageEvent):
    event: Literal["stage_done"] = "stage_done"
    seconds: float | None = None


class StageBroken(StageEvent):
    """A stage ended with an error or an interruption."""

    event: Literal["stage_broken"] = "stage_broken"
    seconds: float | None = None


class WeightsLoaded(Event):
    """The engines run and answer with a policy."""

    event: Literal["weights"] = "weights"
    policy: str
    kind: Literal["base", "lora", "full"]
    probe_difference: float
    """Mean difference of an engine's log-probabilities from the trainer's on the probe, in nats a token."""
    probe_moved: float | None = None
    """Mean distance over which the training moved them; None where no probe was checked or it is unknown."""
    told_apart: bool = False
    """Whether the engines showed that they no longer have the weights before the training."""
    seconds: float

    @property
    def notice(self) -> str | None:
        if self.probe_moved is None or self.told_apart:
            return None
        return (
            f"policy {self.policy[:12]}: the training moved a probe's log-probabilities by {self.probe_moved:.1e} nats "
            "a token, too little to tell whether the engines have the new weights or those before"
        )


class GoldSetJudged(Event):
    """The judge was compared with people on the gold set before a round."""

    event: Literal["gold_set"] = "gold_set"
    round: int
    agreed: int
    labels: int
    agreement: float
    min_agreement: float


class Waiting(Event):
    """The Ray cluster has less than the work needs."""

    event: Literal["waiting"] = "waiting"
    message: str

    @property
    def notice(self) -> str:
        return self.message


class EngineLost(Event):
    noticed = True
    event: Literal["engine_lost"] = "engine_lost"
    role: EngineRole
    engine: int
    """Number of the engine in its pool."""
    deaths: int
    """How often an engine with this number has died, this death included."""
    reason: str


class Retry(Event):
    """A request is sent again because its engine died."""

    noticed = True
    event: Literal["retry"] = "retry"
    role: EngineRole | None = None
    prompt_id: str | None = None
    attempt: int | None = None
    reason: str


class TrainingLost(Event):
    """A training worker died; its steps since the last checkpoint are taken again."""

    event: Literal["training_lost"] = "training_lost"
    round: int
    starts: int
    """How often the training has started, this start included."""


AnyEvent = (
    RunStarted | RunResumed | RunFinished | RunStopped | RunInterrupted | RunFailed
    | StageStarted | StageDone | StageBroken | WeightsLoaded | GoldSetJudged
    | Waiting | EngineLost | Retry | TrainingLost
)  # fmt: skip

Emit = Callable[[AnyEvent], None]

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="event")])


def parse_event(line: str | bytes) -> AnyEvent | None:
    """Return the event in a line of `events.jsonl`; None for a line that was cut off or has an unknown event."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


def ignore_event(event: AnyEvent) -> None:
    """Drop an event: the `Emit` of work that nobody watches."""


class EventLog:
    """Appends events to `events.jsonl`, given by its path or URL."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: list[bytes] | None = None
        self._put_at = 0.0

    def append(self, event: AnyEvent) -> None:
        """Add an event to the log; in an object store it is written with the next ones."""
        line = event.model_dump_json().encode()
        if not is_url(self._path):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with full_disk_named(self._path), open(self._path, "a+b") as file:
                # A line that a kill or a full disk cut off must not swallow this one.
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line
                file.write(line + b"\n")
            return
        if self._lines is None:
            self._lines = (read_bytes(self._path) or b"").splitlines()
        self._lines.append(line)
        if time.monotonic() - self._put_at > _PUT_EVERY:
            self.flush()

    def flush(self) -> None:
        """Put the lines that an object store does not have yet."""
        if self._lines is not None:
            write_bytes(self._path, b"\n".join(self._lines) + b"\n")
            self._put_at = time.monotonic()

    def read(self) -> list[AnyEvent]:
        """Return all events in order, without the lines that `parse_event` cannot read."""
        lines = (read_bytes(self._path) or b"").splitlines()
        return [event for line in lines if (event := parse_event(line)) is not None]
