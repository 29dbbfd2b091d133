"""Shows the old names that an input uses, each as one line on standard error."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from rlaif.errors import RenamedWarning


@contextmanager
def renamed_shown() -> Iterator[None]:
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
