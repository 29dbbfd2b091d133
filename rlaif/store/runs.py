"""Finds runs by what a person calls them, and reads what may be broken in them.

Invariant: a run that is not there, or a file that is not what `rlaif run` wrote, is a UserError that names it.
"""

import json
from typing import Any

from rlaif.errors import UserError
from rlaif.io.files import is_url, join, names, read_json
from rlaif.store.rundir import RunDir


def find_run(run: str, runs: str) -> RunDir:
    """Return a run given by its name in the folder `runs`, or by its own path or URL.

    Raises:
        UserError: there is no run; the message names those that are in the folder.
    """
    directory = RunDir(run if is_url(run) or "/" in run else join(runs, run))
    if load_json(directory.path("run.json")) is None:
        there = ", ".join(entry.place.rsplit("/", 1)[-1] for entry in list_runs(runs)) or "none"
        raise UserError(f"{directory.place}: no run there; expected a run's path, or its name in {runs}: {there}")
    return directory


def list_runs(runs: str) -> list[RunDir]:
    """Return the runs that lie in a folder, by name."""
    found = [RunDir(join(runs, name)) for name in names(runs)]
    return [run for run in found if names(run.place, "run.json")]


def load_json(place: str) -> Any:
    """Return a JSON file's value, None if there is no such file; a broken one is a UserError that names it."""
    try:
        return read_json(place)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{place}:{error.lineno}: not JSON: {error.msg}; expected a file that `rlaif run` wrote"
        ) from None
    except NotADirectoryError:
        return None
