"""Folders of this machine that are no run's."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what can be made again: `$RLAIF_CACHE`, or `rlaif` in the user's cache folder."""
    if folder := os.environ.get("RLAIF_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlaif"
