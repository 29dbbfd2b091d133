"""The interface of a tracker, and the trackers by name."""

import importlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Protocol

from rlaif.errors import UserError
from rlaif.io.files import is_url
from rlaif.recipe.tracking import TrackerSection
from rlaif.tracking.points import Point

DEFAULT_PROJECT = "rlaif"


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """A run as its trackers know it.

    Attributes:
        id: the same in every start of the run, and no other run's.
        root: path or URL of the run's folder.
        config: the resolved recipe, as plain values.
    """

    id: str
    name: str
    root: str
    config: dict[str, Any]


class Tracker(Protocol):
    """One run in one tracker.

    Attributes:
        last: number of the last point that the tracker holds, 0 without any. It takes the others in order.
        address: where a person finds the run.
    """

    last: int
    address: str

    def log(self, point: Point) -> None:
        """Send a point."""

    def close(self, finished: bool) -> None:
        """Send what is left; `finished` says whether the run ended without an error."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """A tracker's library, the module here that uses it, and the environment variable of its project."""

    library: str
    module: str
    project: str = ""


_KINDS = {
    "wandb": _Kind("wandb", "rlaif.tracking.wandb_run", "WANDB_PROJECT"),
    "mlflow": _Kind("mlflow", "rlaif.tracking.mlflow_run", "MLFLOW_EXPERIMENT_NAME"),
    "tensorboard": _Kind("tensorboard", "rlaif.tracking.tensorboard_run"),
    "trackio": _Kind("trackio", "rlaif.tracking.trackio_run", "TRACKIO_PROJECT"),
}


def check_trackers(trackers: Sequence[TrackerSection], root: str) -> None:
    """Raise UserError unless all trackers are installed and can be used for the run at `root`."""
    for tracker in trackers:
        kind = _KINDS[tracker.name]
        if find_spec(kind.library) is None:
            raise UserError(f'tracking: {tracker.name} is not installed; run: pip install "rlaif[{tracker.name}]"')
        if tracker.name == "tensorboard" and is_url(folder := tracker.uri or root):
            raise UserError(f"tracking: tensorboard cannot append to files in {folder}; expected a folder as its uri")
        if tracker.name == "wandb":
            from rlaif.tracking.wandb_run import check_key

            check_key(tracker)


def open_tracker(tracker: TrackerSection, run: TrackedRun) -> Tracker:
    """Begin or continue a run in a tracker."""
    kind = _KINDS[tracker.name]
    project = tracker.project or os.environ.get(kind.project) or DEFAULT_PROJECT
    opened: Tracker = importlib.import_module(kind.module).open_run(run, project, tracker.uri)
    return opened
