"""The experiment trackers that a run logs to."""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, field_validator, model_validator

from rlaif.recipe.base import Section

TrackerName = Literal["wandb", "mlflow", "tensorboard", "trackio"]


class TrackerSection(Section):
    """One experiment tracker; its name alone takes the defaults."""

    name: TrackerName
    """The tracker, which is an extra: `pip install "rlaif[wandb]"`."""
    project: str | None = Field(default=None, min_length=1)
    """Project of W&B or Trackio, experiment of MLflow; null takes `WANDB_PROJECT`, `TRACKIO_PROJECT` or
    `MLFLOW_EXPERIMENT_NAME`, or else `rlaif`. TensorBoard has none."""
    uri: str | None = Field(default=None, min_length=1)
    """MLflow's tracking URI, the URL of a W&B or Trackio server, or TensorBoard's folder; null takes what the tracker's
    own environment variables say, and for TensorBoard `tensorboard/` in the run's folder."""

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given

    @field_validator("uri")
    @classmethod
    def _without_password(cls, uri: str | None) -> str | None:
        # It is stored with the run and shown by the trackers.
        if uri is not None and urlsplit(uri).password is not None:
            raise ValueError("holds a password; set the tracker's environment variable instead")
        return uri

    @model_validator(mode="after")
    def _has_a_use(self) -> "TrackerSection":
        if self.name == "tensorboard" and self.project is not None:
            raise ValueError("project: TensorBoard has none; expected it left out")
        return self


def _distinct(trackers: tuple[TrackerSection, ...]) -> tuple[TrackerSection, ...]:
    """Return the trackers, or raise ValueError if one is named twice."""
    names = [tracker.name for tracker in trackers]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(repeated)} is named twice; expected each tracker once")
    return trackers


Trackers = Annotated[tuple[TrackerSection, ...], AfterValidator(_distinct)]
