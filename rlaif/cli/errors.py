"""Turns the errors of a command into one line on standard error and an exit code.

Exit codes: 0 success, 1 the work failed, 2 wrong use, 130 interrupted. Any other exception is a defect and keeps its
traceback. An old name that an input uses is also one line on standard error. Invariant: errors never go to standard
output, so `--json` prints JSON or nothing.
"""

import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer

from rlaif.errors import Interrupted, RenamedWarning, RlaifError, WorkError, is_disk_full

P = ParamSpec("P")
R = TypeVar("R")

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def at_the_edge(command: Callable[P, R]) -> Callable[P, R]:
    """Return a command whose errors end as one line and an exit code."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _renamed_shown():
                return command(*args, **kwargs)
        except (RlaifError, KeyboardInterrupt, OSError) as error:
            if isinstance(error, OSError) and not is_disk_full(error):
                raise
            raise typer.Exit(report(error)) from None

    return guarded


@contextmanager
def _renamed_shown() -> Iterator[None]:
    """Print each different `RenamedWarning` once while the block runs."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
            if not issubclass(category, RenamedWarning):
                show(message, category, *rest, **options)
            elif str(message) not in shown:
                shown.add(str(message))
                typer.echo(f"rlaif: {message}", err=True)

        warnings.simplefilter("always", RenamedWarning)
        warnings.showwarning = show_line
        yield


def report(error: BaseException) -> int:
    """Print an error as one line on standard error, and return its exit code."""
    sys.stdout.flush()
    typer.echo(f"rlaif: {_message(error)}", err=True)
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return INTERRUPTED
    return FAILED if isinstance(error, WorkError) else WRONG_USE


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OSError):
        path = error.filename or error.filename2
        where = f"on the disk of {path}" if path else "on the disk"
        return f"no space left {where}: free some and run the same command again; nothing committed is lost"
    return str(error)
