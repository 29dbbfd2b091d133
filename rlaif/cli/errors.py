"""Turns the errors of a command into one line on standard error and an exit code.

Exit codes: 0 success, 1 the work failed, 2 wrong use, 130 interrupted. Any other exception is a defect and keeps its
traceback. A notice, such as of an old name that an input uses, is also one line on standard error. Invariant: errors
never go to standard output, so `--json` prints JSON or nothing.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from rlaif.errors import Interrupted, Notice, RlaifError, WorkError, is_disk_full

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


@contextmanager
def at_the_edge() -> Iterator[None]:
    """End the errors of a block, or of the command that this decorates, as one line and an exit code."""
    try:
        with _notices_shown():
            yield
    except (RlaifError, KeyboardInterrupt, OSError) as error:
        if isinstance(error, OSError) and not is_disk_full(error):
            raise
        raise typer.Exit(report(error)) from None


@contextmanager
def _notices_shown() -> Iterator[None]:
    """Print each different `Notice` once while the block runs."""
    shown: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_line(message: Warning | str, category: type[Warning], *rest: Any, **options: Any) -> None:
            if not issubclass(category, Notice):
                show(message, category, *rest, **options)
            elif str(message) not in shown:
                shown.add(str(message))
                typer.echo(f"rlaif: {message}", err=True)

        warnings.simplefilter("always", Notice)
        warnings.showwarning = show_line
        yield


def report(error: BaseException) -> int:
    """Print an error as one line on standard error, and return its exit code."""
    message = str(error)
    if isinstance(error, KeyboardInterrupt):
        message = "interrupted"
    elif isinstance(error, OSError):
        path = error.filename or error.filename2
        where = f"on the disk of {path}" if path else "on the disk"
        message = f"no space left {where}: free some and run the same command again; nothing committed is lost"
    sys.stdout.flush()
    typer.echo(f"rlaif: {message}", err=True)
    if isinstance(error, Interrupted | KeyboardInterrupt):
        return INTERRUPTED
    return FAILED if isinstance(error, WorkError) else WRONG_USE
