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

    # A shell without job control starts what runs in the background with SIGINT ignored, and then it would do nothing.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, stop),
    }
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(message) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
