"""The time of a run: its stages on one axis, without the pauses between two starts.

Invariant: a span ends with its stage's event; one that a kill cut off ends with the last event before the next start.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from rlaif.store.events import (
    AnyEvent,
    Retry,
    RunResumed,
    RunStarted,
    StageBroken,
    StageDone,
    StageEvent,
    StageStarted,
    WeightsLoaded,
)

_NOTES_KEPT = 40


class Span(NamedTuple):
    """One stage at work, in seconds of the timeline; `cut` if it failed, was killed, or is still at work."""

    stage: str
    round: int | None
    start: float
    end: float
    cut: bool


class Pause(NamedTuple):
    """The seconds between an end of the run and its next start, after `at` seconds of work."""

    at: float
    seconds: float


class Note(NamedTuple):
    """An event beside the stages: a start, an end, a lost engine, a wait. Its time is ISO 8601."""

    time: str
    event: str
    text: str


class Timeline(NamedTuple):
    """A run's time: its seconds at work, and its stages in the order in which they began."""

    seconds: float
    spans: tuple[Span, ...]
    pauses: tuple[Pause, ...]
    notes: tuple[Note, ...]

    @property
    def cut(self) -> bool:
        return any(span.cut for span in self.spans)

    def by_stage(self) -> dict[str, float]:
        """Return the seconds of each stage over the whole run."""
        totals: dict[str, float] = defaultdict(float)
        for span in self.spans:
            totals[span.stage] += span.end - span.start
        return totals


def timeline(events: Sequence[AnyEvent]) -> Timeline:
    """Return the timeline of a run's events, without those whose time is malformed."""
    timed = [(moment, event) for event in events if (moment := _moment(event)) is not None]
    if not timed:
        return Timeline(0.0, (), (), ())
    began = previous = timed[0][0]
    paused = 0.0
    spans: list[Span] = []
    pauses: list[Pause] = []
    open_: dict[tuple[str, int | None], float] = {}
    for moment, event in timed:
        if isinstance(event, RunStarted | RunResumed) and moment > previous:
            at = previous - began - paused
            spans += [Span(stage, number, start, at, cut=True) for (stage, number), start in open_.items()]
            open_.clear()
            pauses.append(Pause(at, moment - previous))
            paused += moment - previous
        now = moment - began - paused
        if isinstance(event, StageStarted):
            open_[event.stage, event.round] = now
        elif isinstance(event, StageDone | StageBroken) and (key := (event.stage, event.round)) in open_:
            spans.append(Span(*key, open_.pop(key), now, cut=isinstance(event, StageBroken)))
        previous = max(previous, moment)
    end = previous - began - paused
    spans += [Span(stage, number, start, end, cut=True) for (stage, number), start in open_.items()]
    spans.sort(key=lambda span: (span.start, span.end))
    return Timeline(end, tuple(spans), tuple(pauses), _notes([event for _, event in timed]))


def _moment(event: AnyEvent) -> float | None:
    try:
        return datetime.fromisoformat(event.time).timestamp()
    except ValueError:
        return None


def _notes(events: Sequence[AnyEvent]) -> tuple[Note, ...]:
    """Return the events beside the stages; retries for one reason are one note."""
    notes: list[Note] = []
    retries: dict[str, list[Retry]] = {}
    for event in events:
        if isinstance(event, Retry):
            retries.setdefault(event.reason, []).append(event)
        elif not isinstance(event, StageEvent | WeightsLoaded):
            notes.append(Note(event.time, event.event, event.details))
    for reason, same in retries.items():
        count = f"{len(same)} times, the last then: " if len(same) > 1 else ""
        notes.append(Note(same[-1].time, same[-1].event, f"{count}{reason}"))
    return tuple(sorted(notes, key=lambda note: note.time)[-_NOTES_KEPT:])
