"""The events of a run: one class for each thing that happens, emitted, stored and shown from this definition.

Invariant: an event is one line of `events.jsonl`, and reading that line returns an equal event.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

EngineRole = Literal["policy", "judge"]


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Event(BaseModel):
    """Something that happened during a run. Fields that a later version added are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)
    noticed: ClassVar[bool] = False
    """Whether a person who watches the run sees the event at once."""

    time: str = Field(default_factory=now)
    """ISO 8601 in UTC."""
    event: str
    """Name of the event's class in `events.jsonl`."""

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
    """A new run began."""

    event: Literal["begin"] = "begin"
    rounds: int | None = None


class RunResumed(Event):
    """A run that had ended or was killed goes on."""

    event: Literal["resume"] = "resume"
    rounds: int | None = None


class RunFinished(Event):
    """All rounds are done."""

    event: Literal["finished"] = "finished"


class RunStopped(Event):
    """The gate ended the run before its last round."""

    event: Literal["stopped"] = "stopped"
    reason: str | None = None


class RunInterrupted(Event):
    """A person or the system asked the run to stop."""

    event: Literal["interrupted"] = "interrupted"
    reason: str | None = None


class RunFailed(Event):
    """An error ended the run."""

    event: Literal["failed"] = "failed"
    reason: str | None = None


class StageEvent(Event):
    """Something that happened to a stage of a round."""

    stage: str
    round: int | None = None
    """None for the evaluation of the initial policy, which belongs to no round."""


class StageStarted(StageEvent):
    """A stage began."""

    event: Literal["stage_started"] = "stage_started"


class StageDone(StageEvent):
    """A stage is done."""

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
    """Id of the policy."""
    kind: Literal["base", "lora", "full"]
    probe_difference: float
    """Largest difference between an engine's log-probabilities and the trainer's on the probe, in nats."""
    seconds: float


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
        """What is missing and what is done about it."""
        return self.message


class EngineLost(Event):
    """An engine died."""

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
"""Takes an event as it happens."""

_ADAPTER: TypeAdapter[AnyEvent] = TypeAdapter(Annotated[AnyEvent, Field(discriminator="event")])


def parse_event(line: str | bytes) -> AnyEvent | None:
    """Return the event in a line of `events.jsonl`; None for a line that was cut off or has an unknown event."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


def ignore_event(event: AnyEvent) -> None:
    """Drop an event: the `Emit` of work that nobody watches."""
