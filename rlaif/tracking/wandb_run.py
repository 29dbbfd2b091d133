"""A run in W&B: a point is a step of its history, which only grows, so a repeated point is dropped there as well.

Offline a start cannot read what an earlier one wrote, and writes a folder of its own with all points from the first.
Each holds the whole run so far, and the last one is what `wandb sync` needs.
"""

import os
from typing import Any

from rlaif.errors import UserError
from rlaif.recipe.tracking import TrackerSection
from rlaif.tracking.points import Axis, Point
from rlaif.tracking.tracker import TrackedRun

_STEP: Axis = "train/step"
_POLICY: Axis = "policy"
_OF_POLICIES = (
    "sample", "judge", "pairs", "comparisons", "pairs_by_judge", "gather", "reward", "heldout", "gate", "seconds",
)  # fmt: skip


def check_key(tracker: TrackerSection) -> None:
    """Raise UserError if W&B would ask for a key on the terminal."""
    import wandb
    from wandb.sdk.lib.wbauth import read_netrc_auth

    settings = wandb.setup().settings
    if settings.mode not in ("online", "shared") or settings.api_key or settings.identity_token_file:
        return
    if not read_netrc_auth(host=tracker.uri or settings.base_url):
        raise UserError(
            "tracking: wandb has no key here; run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline"
        )


def open_run(run: TrackedRun, project: str, uri: str | None) -> "WandbRun":
    """See `open_tracker`."""
    import wandb

    # The terminal belongs to the run's own progress.
    settings: dict[str, Any] = {"console": "off", "silent": True}
    if uri:
        settings["base_url"] = uri
    return WandbRun(
        wandb.init(
            project=project, id=run.id, name=run.name, resume="allow", config=run.config,
            settings=wandb.Settings(**settings),
        )
    )  # fmt: skip


class WandbRun:
    """See `Tracker`."""

    def __init__(self, opened: Any) -> None:
        self._run = opened
        # Of a run that is continued online it is the step after the last.
        self.last = max(0, opened.starting_step - 1)
        self.address = os.path.dirname(opened.dir) if opened.offline else opened.url or ""
        for axis in (_STEP, _POLICY):
            opened.define_metric(axis, hidden=True)
        opened.define_metric("train/*", step_metric=_STEP)
        for group in _OF_POLICIES:
            opened.define_metric(f"{group}/*", step_metric=_POLICY)

    def log(self, point: Point) -> None:
        self._run.log({**point.figures, point.axis: point.at}, step=point.number, commit=True)

    def close(self, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
