"""What belongs to the event loop in which it was first used, such as connections and processes.

Invariant: a loop gets its own, which is dropped once the loop is closed; after `close` there is none for any loop.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from rlaif.errors import WorkError

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes one object for each event loop that asks for it.

    Args:
        make: makes one, in the loop.
        owner: who uses it, for the message after `close`.
        drop: lets one go whose loop is closed already, so without awaiting anything.
    """

    def __init__(self, make: Callable[[], T], *, owner: str, drop: Callable[[T], None] = lambda dropped: None) -> None:
        self._make, self._drop, self._owner = make, drop, owner
        self._made: dict[asyncio.AbstractEventLoop, T] = {}
        self._closed = False

    def get(self) -> T:
        """Return the running loop's; raises WorkError once closed."""
        if self._closed:
            raise WorkError(f"{self._owner} was closed while questions were left")
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            self._drop_closed()
            self._made[loop] = self._make()
        return self._made[loop]

    def close(self) -> T | None:
        """Make no more, and return the running loop's, if it has one, for the caller to close."""
        self._closed = True
        self._drop_closed()
        return self._made.pop(asyncio.get_running_loop(), None)

    def _drop_closed(self) -> None:
        for loop in [loop for loop in self._made if loop.is_closed()]:
            self._drop(self._made.pop(loop))
