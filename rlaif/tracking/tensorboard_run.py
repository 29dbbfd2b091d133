"""A run in TensorBoard: event files in a folder, one for each start of the run.

Invariant: a point is one event, so the events of a folder are as many as the points that it holds.
"""

import time
from pathlib import Path
from typing import Any

from rlaif.io.files import join
from rlaif.io.yaml_file import dump_yaml
from rlaif.tracking.points import Point
from rlaif.tracking.tracker import TrackedRun

_CONFIG = "recipe"


def open_run(run: TrackedRun, project: str, uri: str | None) -> "TensorboardRun":
    """See `open_tracker`; TensorBoard has no projects, and a folder of several runs holds each by its id."""
    return TensorboardRun(join(uri, run.id) if uri else join(run.root, "tensorboard"), run.config)


class TensorboardRun:
    """See `Tracker`."""

    def __init__(self, folder: str, config: dict[str, Any]) -> None:
        events = _events(folder)
        self.address = folder
        self.last = sum(event.summary.value[0].tag != _CONFIG for event in events)
        self._config = None if events else f"```yaml\n{dump_yaml(config)}```"
        # The first point opens it, so that a start without any leaves no file.
        self._writer: Any = None

    def log(self, point: Point) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        if self._writer is None:
            self._writer = EventFileWriter(self.address)
        if self._config is not None:
            self._write(0, [_text(_CONFIG, self._config)])
            self._config = None
        self._write(point.at, [Summary.Value(tag=tag, simple_value=value) for tag, value in point.figures.items()])

    def close(self, finished: bool) -> None:
        if self._writer is not None:
            self._writer.close()

    def _write(self, step: int, values: list[Any]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()


def _events(folder: str) -> list[Any]:
    """Return the events with figures in a folder; one that a kill cut off is left out."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted(str(path) for path in Path(folder).glob("events.out.tfevents.*"))
    return [event for file in files for event in EventFileLoader(file).Load() if event.summary.value]


def _text(tag: str, text: str) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.metadata import create_summary_metadata
    from tensorboard.util.tensor_util import make_tensor_proto

    metadata = create_summary_metadata(display_name=tag, description="")
    return Summary.Value(tag=tag, metadata=metadata, tensor=make_tensor_proto([text.encode()], shape=(1,)))
