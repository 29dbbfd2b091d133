"""Work in a daemon thread, which does not delay the end of the process."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def in_background(function: Callable[[], T], name: str) -> "asyncio.Future[T]":
    """Run a function in a thread of that name and return a future of its result; call it in an event loop.

    If the loop ends first, by Ctrl-C or an error, the thread does not delay the process, unlike the threads of
    `asyncio.to_thread`.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            result = function()
        except BaseException as error:
            # After the event loop has ended, nothing waits for the outcome.
            with suppress(RuntimeError):
                future.set_exception(error)
        else:
            with suppress(RuntimeError):
                future.set_result(result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return asyncio.wrap_future(future)
