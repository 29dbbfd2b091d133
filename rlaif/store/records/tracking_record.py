"""`tracking.json` of a run: where its experiment trackers have it."""

from typing import Literal

from rlaif.store.records.record import Record


class TrackingRecord(Record):
    """A run in its trackers."""

    layout: Literal[1] = 1
    id: str
    """The run's id there, the same in every start."""
    trackers: dict[str, str]
    """Where each tracker of the last start has the run."""
