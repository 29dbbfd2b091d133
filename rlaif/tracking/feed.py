"""Feeds a run's trackers, each from a thread of its own.

Invariant: a tracker takes each point once and in order, whatever ended an earlier start. One that fails or hangs is
named once and gets nothing more in this start; the run goes on, and its next start sends what is missing.
"""

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence

from rlaif.recipe.tracking import TrackerSection
from rlaif.store.events import AnyEvent, StageDone
from rlaif.store.records.run_records import RunRecord
from rlaif.store.records.tracking_record import TrackingRecord
from rlaif.store.rundir import RunDir
from rlaif.tracking.points import Point, RunPoints
from rlaif.tracking.tracker import TrackedRun, Tracker, open_tracker

# How long the end of a run waits for its trackers.
_GOODBYE_SECONDS = 60.0
_GOODBYE_AFTER_ERROR_SECONDS = 10.0


def tracking_id(record: RunRecord) -> str:
    """Return a run's id in its trackers; one that begins anew under the same name has another."""
    begun = f"{record.name}\0{record.created}\0{record.policy.id}"
    return f"{record.name}-{hashlib.sha256(begun.encode()).hexdigest()[:10]}"


class Tracking:
    """The trackers of a run; a context manager, which opens them.

    Args:
        run: has begun.
        config: the resolved recipe, as plain values.
        say: shows a line to the person who watches the run.
    """

    def __init__(
        self, run: RunDir, trackers: Sequence[TrackerSection], config: Mapping[str, object], say: Callable[[str], None]
    ) -> None:
        self._run, self._sections, self._config, self._say = run, trackers, config, say
        self._points = RunPoints(run)
        self._changed = threading.Condition()
        self._stale = True
        self._ended: bool | None = None
        self._addresses: dict[str, str] = {}
        self._threads: dict[str, threading.Thread] = {}

    def on_event(self, event: AnyEvent) -> None:
        """Take notice of an event of the run."""
        if isinstance(event, StageDone) and self._threads:
            with self._changed:
                self._stale = True
                self._changed.notify_all()

    def on_step(self, number: int, entry: Mapping[str, float]) -> None:
        """Take the log entry of a step of the training in round `number`."""
        if self._threads:
            with self._changed:
                self._points.add_step(number, entry)
                self._changed.notify_all()

    def __enter__(self) -> "Tracking":
        record = self._run.record()
        if record is None or not self._sections:
            return self
        known = TrackedRun(tracking_id(record), record.name, self._run.root, dict(self._config))
        for section in self._sections:
            thread = threading.Thread(
                target=self._feed, args=(section, known), name=f"tracking-{section.name}", daemon=True
            )
            self._threads[section.name] = thread
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._stale, self._ended = True, kind is None
            self._changed.notify_all()
        for name, thread in self._threads.items():
            thread.join(_GOODBYE_SECONDS if kind is None else _GOODBYE_AFTER_ERROR_SECONDS)
            if thread.is_alive():
                self._say(f"tracking: {name} has not taken all points; the next start of the run sends what is missing")

    def _feed(self, section: TrackerSection, run: TrackedRun) -> None:
        """Open a tracker and send it points until the run ends."""
        try:
            tracker = open_tracker(section, run)
            self._record(section.name, run.id, tracker.address)
            while (point := self._next(tracker)) is not None:
                tracker.log(point)
                tracker.last = point.number
            tracker.close(bool(self._ended))
        except Exception as error:
            # A tracker's library raises what it likes, and none of it may end a run.
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self._say(f"tracking: {section.name} failed and gets nothing more in this start: {reason}")

    def _next(self, tracker: Tracker) -> Point | None:
        """Wait for the point after a tracker's last; returns None at the end of the run."""
        with self._changed:
            while True:
                if self._stale:
                    self._points.read()
                    self._stale = False
                point = self._points.get(tracker.last + 1)
                if point is not None or self._ended is not None:
                    return point
                self._changed.wait()

    def _record(self, name: str, id_: str, address: str) -> None:
        with self._changed:
            self._addresses[name] = address
            record = TrackingRecord(id=id_, trackers=dict(sorted(self._addresses.items())))
            record.write(self._run.path("tracking.json"))
