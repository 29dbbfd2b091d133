"""The edge where an error meets a person: one line on standard error and an exit code, instead of a traceback.

Invariant: 0 is fine, 1 means that the work failed, 2 that it was asked for wrongly, 130 that it was interrupted. What
is none of these is a defect of ours and keeps its traceback. Nothing of an error goes to standard output, so that
`--json` prints JSON or nothing.
"""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import typer

from rlaif.errors import Interrupted, UserError, WorkError, is_disk_full

P = ParamSpec("P")
R = TypeVar("R")

FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def at_the_edge(command: Callable[P, R]) -> Callable[P, R]:
    """Return a command whose errors end as one line and an exit code; see this module's first lines."""

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except UserError as error:
            raise _end(str(error), WRONG_USE) from None
        except WorkError as error:
            raise _end(str(error), FAILED) from None
        except Interrupted as error:
            raise _end(str(error), INTERRUPTED) from None
        except KeyboardInterrupt:
            raise _end("interrupted", INTERRUPTED) from None
        except OSError as error:
            if not is_disk_full(error):
                raise
            raise _end(_disk_full(error), WRONG_USE) from None

    return guarded


def _disk_full(error: OSError) -> str:
    place = error.filename or error.filename2
    where = f"on the disk of {place}" if place else "on the disk"
    return f"no space left {where}: free some and run the same command again; nothing committed is lost"


def _end(message: str, code: int) -> typer.Exit:
    sys.stdout.flush()
    typer.echo(f"rlaif: {message}", err=True)
    return typer.Exit(code)
