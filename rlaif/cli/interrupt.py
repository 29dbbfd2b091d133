"""Ctrl-C and SIGTERM end a run cleanly: what is gathered is committed, and one line says how to go on."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rlaif.errors import Interrupted


@contextmanager
def stop_signals(message: str) -> Iterator[None]:
    """Turn SIGTERM into a KeyboardInterrupt for the length of a block, and either into `Interrupted`."""

    def stop(number: int, frame: FrameType | None) -> None:
        # As Ctrl-C does it: asyncio then cancels what runs instead of dropping it.
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None
    finally:
        signal.signal(signal.SIGTERM, before)
