"""What a run writes for people after each round: the test answers of its current policy, and its learning curve.

Invariant: `submission-00.csv` is the initial policy's, and number N + 1 that of the policy that is current after round
N. `learning-curve.csv` has a row for each of them, as far as the rounds are done.
"""

import csv
import io

from rlaif.io.files import join, read_bytes, write_bytes
from rlaif.store.records.round_records import EvaluationRecord, GatherStage, PairsStage, RoundRecord
from rlaif.store.rundir import RunDir

CURVE_COLUMNS = (
    "round", "phase", "objective", "unit", "learned", "learned_in_all", "metric", "value", "low", "high", "test_score",
    "promoted",
)  # fmt: skip


def write_submission(run: RunDir, number: int, policy: str) -> None:
    """Write what a policy answers to the test questions: `id, answer, passage`.

    Args:
        number: of the submission; 0 for the initial policy.
        policy: folder of the policy's held-out answers, that of its round or `initial/`.
    """
    answers = read_bytes(join(policy, "predictions.csv"))
    # A policy that was evaluated before the recipe named test questions has none.
    if answers is not None:
        write_bytes(run.path(f"submission-{number:02d}.csv"), answers)


class LearningCurve:
    """Each policy's held-out score against what had been learned from, the initial policy's first.

    Each round is read once, when it is done.
    """

    def __init__(self, run: RunDir) -> None:
        self._run, self._next = run, 0
        self._rows: list[dict[str, object]] = []
        self._in_all: dict[str, int] = {}

    def write(self) -> None:
        """Write `learning-curve.csv`."""
        text = io.StringIO()
        writer = csv.DictWriter(text, CURVE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        write_bytes(self._run.path("learning-curve.csv"), text.getvalue().encode())

    def rows(self) -> list[dict[str, object]]:
        """Return the rows of all rounds that are done; a figure that does not exist is left out.

        `learned` counts what a round learned from, of its kind, and `learned_in_all` that kind in all rounds so far.
        """
        if not self._rows:
            first = {"round": "", "phase": "initial", "learned": 0, "learned_in_all": 0, "promoted": True}
            self._rows.append(first | _measured(self._run.path("initial")))
        while (record := self._run.round(self._next).record()).promoted is not None:
            self._next += 1
            if record.gathered is not None:
                self._rows.append(self._row(record, record.gathered))
        return self._rows

    def _row(self, record: RoundRecord, gathered: PairsStage | GatherStage) -> dict[str, object]:
        self._in_all[gathered.unit] = self._in_all.get(gathered.unit, 0) + gathered.units
        return {
            "round": record.round,
            "phase": record.phase or "",
            "objective": record.objective,
            "unit": gathered.unit,
            "learned": gathered.units,
            "learned_in_all": self._in_all[gathered.unit],
            "promoted": record.promoted,
            **_measured(self._run.round(record.round).root),
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
