"""A whole judge report as plain data: the judge, the labels, the figures and every raw verdict.

Invariant: `report.json` holds every figure with its interval and count, `verdicts.parquet` every raw verdict; the page
and the terminal show nothing else. Keys are only added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlaif.judge_evals.attack_resistance import AttackMeasurement
from rlaif.judge_evals.comparison import JudgeComparison
from rlaif.judge_evals.judged_labels import JudgedLabel
from rlaif.judge_evals.measurement import Measurement, worst_disagreements


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """A judge measured against people.

    Attributes:
        judge: the judge, from `JudgeSpec.describe`.
        labels_path: of the label file.
        labels_sha: sha256 of the labels in use, in their order.
        models: the model behind each name that the judge files use, such as `policy`.
        written: ISO 8601 in UTC.
        version: of rlaif.
        measurement: the figures.
        attacks: how often each attack flips a right verdict; None without attacks.
        judged: every label with all verdicts on it.
    """

    judge: Mapping[str, Any]
    labels_path: str
    labels_sha: str
    models: Mapping[str, str]
    written: str
    version: str
    measurement: Measurement
    attacks: tuple[AttackMeasurement, ...] | None
    judged: Sequence[JudgedLabel]

    @property
    def name(self) -> str:
        """The judge's name."""
        return str(self.judge["name"])


def report_json(report: JudgeReport) -> dict[str, Any]:
    """Return a report as plain values."""
    figures = asdict(report.measurement)
    counts = {"count": figures.pop("labels"), **{name: figures.pop(name) for name in ("preferred", "questions")}}
    return {
        "judge": dict(report.judge),
        "labels": {"place": report.labels_path, "sha": report.labels_sha, **counts},
        "models": dict(report.models),
        "rlaif": report.version,
        "written": report.written,
        **figures,
        "attacks": None if report.attacks is None else [asdict(attack) for attack in report.attacks],
        "worst": [_disagreement_json(item) for item in worst_disagreements(report.judged)],
    }


def comparison_json(judges: tuple[Mapping[str, Any], Mapping[str, Any]], found: JudgeComparison) -> dict[str, Any]:
    """Return the comparison of two judges, each from `JudgeSpec.describe`, as plain values with all its flips."""
    values = asdict(found)
    figures = {name: values.pop(name) for name in ("first", "second", "difference", "same_decision")}
    return {"judges": [dict(judge) for judge in judges], "figures": figures, **values}


def verdict_rows(judged: Sequence[JudgedLabel]) -> list[dict[str, Any]]:
    """Return all raw verdicts as rows of `rlaif.store.schemas.VERDICTS`; `prompt_id` is the label's id."""
    return [asdict(verdict) for item in judged for verdict in item.verdicts]


def _disagreement_json(item: JudgedLabel) -> dict[str, Any]:
    decision = item.decision
    return {
        "id": item.label.id,
        "human": item.label.human,
        "judge": item.side,
        "preference": decision.preference if decision else None,
        "margin": decision.margin if decision else None,
    }
