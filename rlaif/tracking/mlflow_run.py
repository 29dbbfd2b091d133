"""A run in MLflow, found again by a tag with its id; another tag holds the number of its last point."""

import time
from collections.abc import Iterator
from typing import Any

from rlaif.tracking.points import Point
from rlaif.tracking.tracker import TrackedRun

_ID, _POINT = "rlaif.run", "rlaif.point"
# Limits of MLflow's interface: parameters in one request, and characters of a value.
_AT_ONCE, _LONGEST = 100, 6000


def open_run(run: TrackedRun, project: str, uri: str | None) -> "MlflowRun":
    """See `open_tracker`."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(project)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(project)
    found = client.search_runs([experiment_id], f"tags.`{_ID}` = '{run.id}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
    opened = found[0] if found else client.create_run(experiment_id, tags={_ID: run.id}, run_name=run.name)
    return MlflowRun(client, opened, run.config)


class MlflowRun:
    """See `Tracker`."""

    def __init__(self, client: Any, opened: Any, config: dict[str, Any]) -> None:
        from mlflow.entities import Param

        self._client, self._id = client, opened.info.run_id
        self.last = int(opened.data.tags.get(_POINT, 0))
        self.address = f"{client.tracking_uri}, run {self._id}"
        # MLflow refuses to change a parameter, so one that differs in this start stays as the run began with it.
        known = opened.data.params
        params = [Param(key, str(value)[:_LONGEST]) for key, value in _flat(config) if key not in known]
        for start in range(0, len(params), _AT_ONCE):
            client.log_batch(self._id, params=params[start : start + _AT_ONCE])

    def log(self, point: Point) -> None:
        from mlflow.entities import Metric, RunTag

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, point.at) for name, value in point.figures.items()]
        self._client.log_batch(self._id, metrics=metrics, tags=[RunTag(_POINT, str(point.number))])

    def close(self, finished: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if finished else "FAILED")


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield values by their dotted keys."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
