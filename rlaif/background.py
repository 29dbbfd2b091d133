"""Work in a thread that nobody waits for."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_background(function: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Run a function in a thread of its own and return the future of its result; call it in an event loop.

    Where the loop ends first, by Ctrl-C or an error, the thread does not hold the process up, as the threads of
    `asyncio.to_thread` would.

    Args:
        function: what to run.
        name: of the thread.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            # Where the event loop is gone nobody is left to hear of it.
            with suppress(RuntimeError):
                future.set_exception(error)
            return
        with suppress(RuntimeError):
            future.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return asyncio.wrap_future(future)
