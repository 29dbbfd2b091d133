"""What a run writes for people after each round: the test answers of its current policy, and its learning curve.

Invariant: `submission-00.csv` is the initial policy's, and number N + 1 that of the policy that is current after round
N. `learning-curve.csv` has a row for each of them, as far as the rounds are done.
"""

import csv
import io
from collections.abc import Iterator

from rlaif.io.files import join, read_bytes, write_bytes
from rlaif.store.records.round_records import EvaluationRecord
from rlaif.store.rundir import RoundDir, RunDir

CURVE_COLUMNS = (
    "round", "phase", "objective", "unit", "learned", "learned_in_all", "metric", "value", "low", "high", "test_score",
    "promoted",
)  # fmt: skip


def write_submission(run: RunDir, directory: RoundDir | None, *, promoted: bool) -> None:
    """Write the answers to the test questions after a round, or of the initial policy: `id, answer, passage`.

    Args:
        directory: of the round; None for the initial policy.
        promoted: whether the round's policy becomes the current one; otherwise the answers stay as they were.
    """
    number = 0 if directory is None else directory.number + 1
    own = run.path("initial") if directory is None else directory.root
    answers = read_bytes(join(own, "predictions.csv") if promoted else _path(run, number - 1))
    # A run that began before there were submissions lacks those of its first rounds.
    if answers is not None:
        write_bytes(_path(run, number), answers)


def write_learning_curve(run: RunDir) -> None:
    """Write each policy's held-out score against what had been learned from, the initial policy's first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CURVE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(learning_curve(run))
    write_bytes(run.path("learning-curve.csv"), text.getvalue().encode())


def learning_curve(run: RunDir) -> Iterator[dict[str, object]]:
    """Yield the rows of `learning-curve.csv`; a figure that does not exist is "".

    `learned` counts what a round learned from, of its kind, and `learned_in_all` that kind in all rounds so far.
    """
    yield {
        "round": "",
        "phase": "initial",
        "learned": 0,
        "learned_in_all": 0,
        "promoted": True,
        **_measured(run.path("initial")),
    }
    so_far: dict[str, int] = {}
    for directory in run.rounds():
        record = directory.record()
        gathered = record.gathered
        if record.promoted is None or gathered is None:
            continue
        so_far[gathered.unit] = so_far.get(gathered.unit, 0) + gathered.units
        yield {
            "round": record.round,
            "phase": record.phase or "",
            "objective": record.objective,
            "unit": gathered.unit,
            "learned": gathered.units,
            "learned_in_all": so_far[gathered.unit],
            "promoted": record.promoted,
            **_measured(directory.root),
        }


def _measured(folder: str) -> dict[str, object]:
    record = EvaluationRecord.read(join(folder, "evaluation.json"))
    if record is None:
        return {}
    metric = "score" if "score" in record.metrics else "win_rate"
    found, test = record.metrics.get(metric), record.metrics.get("test_score")
    return {
        "metric": metric if found else "",
        **({"value": found.value, "low": found.low, "high": found.high} if found else {}),
        **({"test_score": test.value} if test else {}),
    }


def _path(run: RunDir, number: int) -> str:
    return run.path(f"submission-{number:02d}.csv")
