"""Ctrl-C and SIGTERM end a command cleanly: it commits what it has, and one line says how to resume."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from rlaif.errors import Interrupted


@contextmanager
def stop_signals(message: str) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM within a block into `Interrupted` with a message."""

    def stop(number: int, frame: FrameType | None) -> None:
        # Like Ctrl-C, so that asyncio cancels running tasks instead of dropping them.
        signal.raise_signal(signal.SIGINT)

    # A shell without job control starts background processes with SIGINT ignored.
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
