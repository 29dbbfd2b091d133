"""Single keys of a terminal, or the letters of standard input where it is a pipe."""

import sys

import click


def read_key() -> str | None:
    """Return the next key as a small letter; None at the end of the input. Ctrl-C raises KeyboardInterrupt."""
    if sys.stdin.isatty():
        try:
            return click.getchar().lower()
        except EOFError:
            return None
    while key := sys.stdin.read(1):
        if not key.isspace():
            return key.lower()
    return None
