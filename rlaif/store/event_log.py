"""`events.jsonl`: the events of a run, one JSON object a line, appended as they happen.

On a file system a line is appended and flushed at once. An object store has no append: lines are gathered and the
whole file is put again at most every few seconds and at the end. A kill may lose the last lines there, never a result,
since nothing is decided from events.
"""

import os
import time

from rlaif.io.files import full_disk_named, is_url, read_bytes, write_bytes
from rlaif.store.events import AnyEvent, parse_event

_PUT_EVERY = 5.0


class EventLog:
    """Appends events to `events.jsonl`, given by its path or URL."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._lines: list[bytes] | None = None
        self._put_at = 0.0

    def append(self, event: AnyEvent) -> None:
        """Append one event."""
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
