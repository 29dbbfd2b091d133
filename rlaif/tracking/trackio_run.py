"""A run in Trackio: a point is a step of the run, whose last step Trackio returns when the run is resumed."""

import contextlib
import os
import sys
from typing import Any

from rlaif.tracking.points import Point
from rlaif.tracking.tracker import TrackedRun


def open_run(run: TrackedRun, project: str, uri: str | None) -> "TrackioRun":
    """See `open_tracker`."""
    import trackio

    # Trackio's prints must not come between the lines of --json.
    with contextlib.redirect_stdout(sys.stderr):
        opened = trackio.init(
            project=project, name=run.id, resume="allow", config=run.config, server_url=uri, embed=False,
            auto_log_cpu=False, auto_log_gpu=False,
        )  # fmt: skip
    return TrackioRun(opened, project, uri or os.environ.get("TRACKIO_SPACE_ID") or str(trackio.utils.TRACKIO_DIR))


class TrackioRun:
    """See `Tracker`."""

    def __init__(self, opened: Any, project: str, where: str) -> None:
        self._run = opened
        self.last = int(opened._initial_last_step or 0)
        self.address = f"{where}, project {project}, run {opened.name}"

    def log(self, point: Point) -> None:
        self._run.log({**point.figures, point.axis: point.at}, step=point.number)

    def close(self, finished: bool) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            self._run.finish()
