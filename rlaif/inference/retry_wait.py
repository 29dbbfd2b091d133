"""How long to wait before a request is tried again.

Exponential backoff with jitter, so that requests that failed together do not come back together; and never sooner than
the server asks for.
"""

import math
import random
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

FIRST_WAIT = 0.5
"""Seconds before the first repetition, in the mean."""
LONGEST_BACKOFF = 30.0
"""Seconds before a late repetition, in the mean."""
LONGEST_WAIT = 300.0
"""Seconds that a server may ask for; a request that should wait longer is given up."""


def wait_before(attempt: int, asked: float | None) -> float:
    """Return the seconds to wait before a repetition.

    Args:
        attempt: of the try that failed, from 1.
        asked: what the server asks for in seconds, or None.
    """
    backoff = min(LONGEST_BACKOFF, FIRST_WAIT * 2.0 ** min(attempt - 1, 30))
    if asked is not None:
        return asked * random.uniform(1.0, 1.1)
    return backoff * random.uniform(0.5, 1.5)


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return what a response's Retry-After asks for, in seconds; None where it asks for nothing that can be read.

    Args:
        headers: of the response; names in any case, as HTTP libraries give them.
    """
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
