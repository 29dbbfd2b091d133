"""Where a run's time went: its stages on one axis, the pauses between two starts cut out.

Invariant: a span ends when the run says so; one that a kill cut off ends with the last event before the next start.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_STAGE_EVENTS = ("stage_started", "stage_done", "stage_broken", "weights")
_SAYING = ("reason", "message")
_NOTES_KEPT = 40


@dataclass(frozen=True, slots=True)
class Span:
    """One stage at work.

    Attributes:
        stage: its name.
        round: its round; None for the initial policy.
        start, end: seconds since the run began, pauses left out.
        cut: whether it did not end by itself: broken, killed, or still at work.
    """

    stage: str
    round: int | None
    start: float
    end: float
    cut: bool


@dataclass(frozen=True, slots=True)
class Pause:
    """The run stood still.

    Attributes:
        at: seconds since the run began, pauses left out.
        seconds: how long it stood.
    """

    at: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Note:
    """An event that is no stage: a start, an end, a lost engine, a wait.

    Attributes:
        time: ISO 8601.
        event: its name.
        text: its fields, or how often it came.
    """

    time: str
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """A run's time.

    Attributes:
        seconds: at work, from the first event to the last, pauses left out.
        spans: the stages, in the order in which they began.
        pauses: between an end and the next start.
        notes: events that are no stages, retries of one reason gathered.
    """

    seconds: float
    spans: tuple[Span, ...]
    pauses: tuple[Pause, ...]
    notes: tuple[Note, ...]

    @property
    def cut(self) -> bool:
        """Whether any span did not end by itself."""
        return any(span.cut for span in self.spans)

    def by_stage(self) -> dict[str, float]:
        """Return the seconds of each stage over the whole run."""
        totals: dict[str, float] = {}
        for span in self.spans:
            totals[span.stage] = totals.get(span.stage, 0.0) + span.end - span.start
        return totals


def timeline(events: Sequence[Mapping[str, Any]]) -> Timeline:
    """Lay a run's events out in time; lines without a readable time are left out."""
    timed = [(moment, event) for event in events if (moment := _moment(event)) is not None]
    if not timed:
        return Timeline(0.0, (), (), ())
    began = previous = timed[0][0]
    paused = 0.0
    spans: list[Span] = []
    pauses: list[Pause] = []
    open_: dict[tuple[str, int | None], float] = {}
    for moment, event in timed:
        if event.get("event") in ("begin", "resume") and moment > previous:
            at = previous - began - paused
            spans += [Span(stage, number, start, at, cut=True) for (stage, number), start in open_.items()]
            open_.clear()
            pauses.append(Pause(at, moment - previous))
            paused += moment - previous
        now = moment - began - paused
        key = (str(event.get("stage")), event.get("round"))
        if event.get("event") == "stage_started":
            open_[key] = now
        elif event.get("event") in ("stage_done", "stage_broken") and key in open_:
            spans.append(Span(*key, open_.pop(key), now, cut=event["event"] == "stage_broken"))
        previous = max(previous, moment)
    end = previous - began - paused
    spans += [Span(stage, number, start, end, cut=True) for (stage, number), start in open_.items()]
    spans.sort(key=lambda span: (span.start, span.end))
    return Timeline(end, tuple(spans), tuple(pauses), _notes([event for _, event in timed]))


def _moment(event: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(event.get("time"))).timestamp()
    except ValueError:
        return None


def _notes(events: Sequence[Mapping[str, Any]]) -> tuple[Note, ...]:
    """Return what happened besides stages: every event but retries, and those once for each reason."""
    notes: list[Note] = []
    retries: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        name = str(event.get("event"))
        if name == "retry":
            retries.setdefault(str(event.get("reason")), []).append(event)
        elif name not in _STAGE_EVENTS:
            fields = {key: value for key, value in event.items() if key not in ("time", "event") and value is not None}
            said = [str(value) if key in _SAYING else f"{key} {value}" for key, value in fields.items()]
            notes.append(Note(str(event["time"]), name, ", ".join(said)))
    for reason, same in retries.items():
        count = f"{len(same)} times, the last then: " if len(same) > 1 else ""
        notes.append(Note(str(same[-1]["time"]), "retry", f"{count}{reason}"))
    return tuple(sorted(notes, key=lambda note: note.time)[-_NOTES_KEPT:])
