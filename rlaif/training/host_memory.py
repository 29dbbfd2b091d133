"""Memory of a process that is given back to the system."""

import ctypes
import sys
from contextlib import suppress


def trim() -> None:
    """Return freed memory to the system: `rlaif.cluster.ray_cluster.ENVIRONMENT` has the allocator keep it."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)
