"""The run's diary: one JSON object a line, appended as things happen.

On a file system a line is appended and flushed at once. An object store has no append: lines are gathered and the
whole file is put again at most every few seconds and at the end, so a kill may cost the last lines there, never a
result, since nothing is decided from events.
"""

import json
import os
import time
from datetime import UTC, datetime
from typing import Any

from rlaif.io.files import full_disk_named, is_url, read_bytes, write_bytes

_PUT_EVERY = 5.0


def now() -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class EventLog:
    """Appends events to `events.jsonl`.

    Args:
        place: path or URL of the file.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._lines: list[str] | None = None
        self._put_at = 0.0

    def append(self, event: str, **fields: Any) -> None:
        """Append one event with the time and its fields."""
        line = json.dumps({"time": now(), "event": event, **fields}, ensure_ascii=False, default=str)
        if not is_url(self._place):
            os.makedirs(os.path.dirname(self._place), exist_ok=True)
            with full_disk_named(self._place), open(self._place, "a+b") as file:
                # A line that a kill or a full disk cut off must not swallow this one.
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else f"\n{line}"
                file.write(line.encode() + b"\n")
            return
        if self._lines is None:
            self._lines = (read_bytes(self._place) or b"").decode().splitlines()
        self._lines.append(line)
        if time.monotonic() - self._put_at > _PUT_EVERY:
            self.flush()

    def flush(self) -> None:
        """Put what an object store has not got yet."""
        if self._lines is not None:
            write_bytes(self._place, ("\n".join(self._lines) + "\n").encode())
            self._put_at = time.monotonic()

    def read(self) -> list[dict[str, Any]]:
        """Return all events; a line that a kill cut off is left out."""
        events = []
        for line in (read_bytes(self._place) or b"").decode(errors="replace").splitlines():
            try:
                events.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return events
