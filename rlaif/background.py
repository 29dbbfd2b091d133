"""Work in another thread: in a daemon thread, which does not delay the end of the process, or outside an event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
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


def outside_loop(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function that starts an event loop of its own be called where a loop already runs in this thread."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return function(*args, **kwargs)
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            return thread.submit(function, *args, **kwargs).result()

    return call
