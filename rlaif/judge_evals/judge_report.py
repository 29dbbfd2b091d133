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
from rlaif.judge_evals.measurement import Measurement, MemberMeasurement, worst_disagreements
from rlaif.stats.bootstrap import Estimate


@dataclass(frozen=True, slots=True)
class LabelSource:
    """The labels that a judge was measured on.

    Attributes:
        path: of the file.
        sha: sha256 of the labels in use, in their order.
    """

    path: str
    sha: str


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """A judge measured against people.

    Attributes:
        judge: the judge, from `JudgeSpec.describe`.
        source: the labels.
        models: the model behind each name that the judge files use, such as `policy`.
        written: ISO 8601 in UTC.
        version: of rlaif.
        measurement: the figures.
        attacks: how often each attack flips a right verdict; None without attacks.
        judged: every label with all verdicts on it.
    """

    judge: Mapping[str, Any]
    source: LabelSource
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
    found = report.measurement
    return {
        "judge": dict(report.judge),
        "labels": {
            "place": report.source.path,
            "sha": report.source.sha,
            "count": found.labels,
            "preferred": found.preferred,
            "questions": found.questions,
        },
        "models": dict(report.models),
        "rlaif": report.version,
        "written": report.written,
        "confidence": found.confidence,
        "seed": found.seed,
        "figures": _figures_json(found.figures),
        "confusion": {human: dict(row) for human, row in found.confusion.items()},
        "length": [asdict(entry) for entry in found.lengths],
        "reliability": [asdict(entry) for entry in found.bins],
        "judges": [_member_json(member) for member in found.members],
        "attacks": None if report.attacks is None else [asdict(attack) for attack in report.attacks],
        "worst": [_disagreement_json(item) for item in worst_disagreements(report.judged)],
    }


def comparison_json(judges: tuple[Mapping[str, Any], Mapping[str, Any]], found: JudgeComparison) -> dict[str, Any]:
    """Return a comparison as plain values, with all its flips.

    Args:
        judges: the two judges, from `JudgeSpec.describe`.
        found: their comparison.
    """
    figures = {name: getattr(found, name) for name in ("first", "second", "difference", "same_decision")}
    counts = ("labels", "both_right", "only_first", "only_second", "neither", "p_value")
    return {
        "judges": [dict(judge) for judge in judges],
        **{name: getattr(found, name) for name in counts},
        "figures": _figures_json(figures),
        "flips": [
            {
                "id": flip.first.label.id,
                "human": flip.first.label.human,
                "first": flip.first.side or flip.first.outcome,
                "second": flip.second.side or flip.second.outcome,
                "right": flip.better,
            }
            for flip in found.flips
        ],
    }


def verdict_rows(judged: Sequence[JudgedLabel]) -> list[dict[str, Any]]:
    """Return all raw verdicts as rows of `rlaif.store.schemas.VERDICTS`; `prompt_id` is the label's id."""
    return [asdict(verdict) for item in judged for verdict in item.verdicts]


def _figures_json(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: asdict(estimate) for name, estimate in figures.items()}


def _disagreement_json(item: JudgedLabel) -> dict[str, Any]:
    decision = item.decision
    return {
        "id": item.label.id,
        "human": item.label.human,
        "judge": item.side,
        "preference": decision.preference if decision else None,
        "margin": decision.margin if decision else None,
    }


def _member_json(member: MemberMeasurement) -> dict[str, Any]:
    return {
        "name": member.name,
        "sha": member.sha,
        "labels": member.labels,
        "verdicts": dict(member.by_status),
        "spent": asdict(member.spent),
        "figures": _figures_json(member.figures),
        "reliability": [asdict(entry) for entry in member.bins],
    }
