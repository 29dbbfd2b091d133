"""Finds runs by name, path or URL."""

from rlaif.errors import UserError
from rlaif.io.files import is_url, join, names
from rlaif.store.rundir import RunDir


def find_run(run: str, runs: str) -> RunDir:
    """Return a run given by its name in the folder `runs`, or by its own path or URL.

    Raises:
        UserError: there is no such run, and the message names those in the folder; or `run.json` cannot be read.
    """
    directory = RunDir(run if is_url(run) or "/" in run else join(runs, run))
    if directory.record() is None:
        found = ", ".join(entry.root.rsplit("/", 1)[-1] for entry in list_runs(runs)) or "none"
        raise UserError(f"{directory.root}: no run there; expected a run's path, or its name in {runs}: {found}")
    return directory


def list_runs(runs: str) -> list[RunDir]:
    """Return the runs in a folder, by name."""
    found = [RunDir(join(runs, name)) for name in names(runs)]
    return [run for run in found if names(run.root, "run.json")]
