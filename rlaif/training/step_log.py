"""The steps of a training: their log entries, from the trainer to the driver's progress."""

from typing import Any

from rlaif.progress import Progress
from rlaif.training.job import Worker

# The names in an entry, and where TRL's trainers log them.
_LOGGED = {
    "step": ("step",),
    "loss": ("loss",),
    "margin": ("rewards/margins", "margin"),
    "accuracy": ("rewards/accuracies", "accuracy"),
    "grad_norm": ("grad_norm",),
    "lr": ("learning_rate",),
}


def log_entry(logged: dict[str, Any]) -> dict[str, float]:
    """Return the figures of a step's log that are kept."""
    return {name: float(logged[key]) for name, keys in _LOGGED.items() for key in keys if key in logged}


def step_entries(trainer: Any) -> list[dict[str, float]]:
    """Return the entries of all steps that a trainer has taken."""
    return [log_entry(logged) for logged in trainer.state.log_history if "loss" in logged]


def step_callback(worker: Worker) -> Any:
    """Return a trainer's callback that passes each step's entry on, with the number of all `steps` in it."""
    from transformers import TrainerCallback

    class StepCallback(TrainerCallback):  # type: ignore[misc]
        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if worker.on_step is not None and logs and "loss" in logs:
                worker.on_step({**log_entry({**logs, "step": state.global_step}), "steps": state.max_steps})

    return StepCallback()


class StepProgress:
    """Shows a training: one stage until its first step, then a stage of its steps.

    Args:
        progress: shows the stages.
        prepare, train: titles of the two.
    """

    def __init__(self, progress: Progress, prepare: str, train: str) -> None:
        self._progress, self._title = progress, train
        self._training = False
        progress.stage(prepare, 1)

    def __call__(self, entry: dict[str, float]) -> None:
        """Show a step."""
        if not self._training:
            self._progress.advance(1)
            self._progress.stage(self._title, int(entry["steps"]), int(entry["step"]) - 1)
            self._training = True
        figures = {name: entry[name] for name in ("loss", "margin", "accuracy") if name in entry}
        self._progress.advance(1, **figures)

    def restart(self) -> None:
        """Show the stage of steps anew with the next one: a lost worker repeats some."""
        self._training = False
