"""When an HTTP request is sent again, and where a response points elsewhere.

Invariant: no try comes sooner than a server asks, as long as it asks for a bounded wait; no redirect is followed, since
the next server would be sent what is meant for the first one.
"""

import math
import time
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
"""Seconds before the first repetition, doubled for each other, and the most; a server may ask for more."""
_LONGEST_WAIT = 60.0
"""Most seconds of a server's `Retry-After` that are waited."""


def pause_after(tries: int) -> float:
    """Return the seconds to wait after so many tries."""
    return float(min(FIRST_PAUSE * 2 ** min(tries - 1, 10), _LONGEST_PAUSE))


def retry_after(text: str) -> float:
    """Return the seconds before another try that a header `Retry-After` asks for, as a number or a date; else 0."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, OverflowError, IndexError):
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_WAIT) if math.isfinite(seconds) else 0.0


def redirection(status: int, location: str) -> str | None:
    """Return in words where a response points, without a credential or a query; None of one that is no redirect."""
    if not 300 <= status < 400:
        return None
    try:
        parts = urlsplit(location)
        where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}" if parts.hostname else ""
    except ValueError:
        where, parts = "", urlsplit("")
    target = f"{where}{parts.path}" or "another place"
    return f"redirects to {target}; expected the URL that answers"
