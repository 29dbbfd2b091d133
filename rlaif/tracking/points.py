"""What trackers are sent of a run: numbered points, made of its records and of the steps of the training at work.

Invariant: point n is the same in every start of the run, as it depends on what the run commits, in the order in which
rounds and their stages follow each other. So a tracker that holds n points goes on with point n + 1.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlaif.stats.bootstrap import Estimate
from rlaif.store.events import StageBroken, StageDone
from rlaif.store.records.reward_record import RewardRecord
from rlaif.store.records.round_records import EvaluationRecord, RoundRecord
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RoundDir, RunDir

Axis = Literal["train/step", "policy"]
"""What a point's figures are drawn over: optimizer steps of all rounds, or the number of the policy (0 is the initial
one, round k trains policy k + 1)."""

Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Point:
    """Figures of one moment of a run.

    Attributes:
        number: its place among all points of the run, from 1.
        at: its place on its axis.
    """

    number: int
    axis: Axis
    at: int
    figures: Figures


class RunPoints:
    """The points of a run: those of its records, and of the training at work as it is reported."""

    def __init__(self, run: RunDir) -> None:
        self._run = run
        self._committed: list[Point] = []
        self._live: dict[tuple[int, int], Mapping[str, float]] = {}
        self._round, self._next, self._steps = 0, "initial", 0

    def add_step(self, number: int, entry: Mapping[str, float]) -> None:
        """Take the log entry of a step of the training in round `number`; a step that is repeated changes nothing."""
        self._live.setdefault((number, int(entry["step"])), entry)

    def read(self) -> None:
        """Read what the run has committed since the last call."""
        if self._next == "initial":
            measured = EvaluationRecord.read(self._run.path("initial", "evaluation.json"))
            if measured is None:
                return
            self._add("policy", 0, _heldout(measured) | self._seconds(None))
            self._next = "gather"
        while self._read_stage(self._run.round(self._round)):
            pass

    def get(self, number: int) -> Point | None:
        """Return a point, or None if it is not known yet."""
        if number <= len(self._committed):
            return self._committed[number - 1]
        step = number - len(self._committed)
        entry = self._live.get((self._round, step)) if self._next == "train" else None
        return None if entry is None else _step(number, self._steps + step, entry)

    def _read_stage(self, directory: RoundDir) -> bool:
        """Add the points of the next stage; returns whether it is done."""
        record = directory.record()
        stages = record.stages
        if self._next == "gather" and record.gathered:
            self._add("policy", directory.number + 1, _reward(directory) | _gathered(record))
            self._next = "train"
        elif self._next == "train" and (stages.train or stages.promote):
            trained = TrainingRecord.read(directory.path("training.json"))
            for entry in trained.log if trained else []:
                self._steps += 1
                self._committed.append(_step(len(self._committed) + 1, self._steps, entry))
            self._live = {key: entry for key, entry in self._live.items() if key[0] > directory.number}
            self._next = "promote"
        elif self._next == "promote" and stages.promote:
            self._add("policy", directory.number + 1, _outcome(directory, record) | self._seconds(directory.number))
            self._round, self._next = self._round + 1, "gather"
        else:
            return False
        return True

    def _add(self, axis: Axis, at: int, figures: Figures) -> None:
        self._committed.append(Point(len(self._committed) + 1, axis, at, figures))

    def _seconds(self, number: int | None) -> Figures:
        """Return the seconds of each stage of a round over all starts; None is the initial policy's evaluation."""
        seconds: Figures = defaultdict(float)
        for event in self._run.events.read():
            if isinstance(event, StageDone | StageBroken) and event.round == number:
                seconds[f"seconds/{event.stage}"] += event.seconds or 0.0
        return dict(seconds)


def _step(number: int, at: int, entry: Mapping[str, float]) -> Point:
    figures = {f"train/{name}": value for name, value in entry.items() if name not in ("step", "steps")}
    return Point(number, "train/step", at, figures)


def _gathered(record: RoundRecord) -> Figures:
    pairs, sampled, judged = record.stages.pairs, record.stages.sample, record.stages.judge
    figures: Figures = {}
    if sampled is not None:
        figures |= {
            "sample/questions": sampled.questions,
            "sample/failed": sampled.failed,
            "sample/candidates": sampled.candidates,
        }
    if judged is not None:
        figures["judge/verdicts"] = judged.verdicts
    if pairs is not None:
        figures |= {
            "pairs/pairs": pairs.pairs,
            "pairs/questions": pairs.questions,
            "pairs/below_margin": pairs.below_margin,
            "pairs/truncated": pairs.truncated,
        }
        figures |= {f"comparisons/{status}": count for status, count in pairs.by_status.items()}
        figures |= {f"pairs_by_judge/{judge}": count for judge, count in pairs.by_judge.items()}
    if (other := record.stages.gather) is not None:
        figures |= {f"gather/{other.unit}": other.units, "gather/questions": other.questions}
        figures |= {f"gather/{name}": value for name, value in other.figures.items()}
    return figures


def _reward(directory: RoundDir) -> Figures:
    trained = RewardRecord.read(directory.path("reward.json"))
    if trained is None:
        return {}
    figures = _ends("reward/accuracy", trained.accuracy) | _ends("reward/gain", trained.gain)
    return {"reward/pairs": trained.train.pairs, **figures}


def _outcome(directory: RoundDir, record: RoundRecord) -> Figures:
    figures: Figures = {"gate/promoted": float(bool(record.promoted))}
    measured = EvaluationRecord.read(directory.path("evaluation.json"))
    if measured is None:
        return figures
    figures |= _heldout(measured)
    if (gate := measured.gate) is not None:
        figures["gate/passed"] = float(gate.passed)
        ends = {"before": gate.before, "after": gate.after, "low": gate.low}
        figures |= {f"gate/{name}": value for name, value in ends.items() if value is not None}
    return figures


def _heldout(measured: EvaluationRecord) -> Figures:
    figures: Figures = {
        "heldout/questions": measured.questions,
        "heldout/failed": measured.failed,
        "heldout/judge_errors": measured.judge_errors,
    }
    for name, found in {**measured.metrics, "difference": measured.difference}.items():
        figures |= _ends(f"heldout/{name}", found)
    return figures


def _ends(name: str, found: Estimate | None) -> Figures:
    """Return a figure with the ends of its interval, as far as they are defined."""
    if found is None:
        return {}
    ends = {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
    return {key: value for key, value in ends.items() if value is not None}
