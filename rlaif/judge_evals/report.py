"""The whole of a judge report, as plain data: what was asked of whom, what was measured, and every raw verdict.

Invariant: `report.json` holds every figure with its interval and the number it counts over, `verdicts.parquet` every
raw verdict; the page and the terminal show nothing that is not in them. Keys are only added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlaif.judge_evals.attack_resistance import AttackMeasurement
from rlaif.judge_evals.comparison import Comparison
from rlaif.judge_evals.measurement import Measurement, SpeakerMeasurement, worst_disagreements
from rlaif.judge_evals.outcomes import Judged
from rlaif.stats.bootstrap import Estimate


@dataclass(frozen=True, slots=True)
class LabelSource:
    """The labels that a judge was measured on.

    Attributes:
        place: of the file.
        sha: sha256 of the labels that were used, in their order.
    """

    place: str
    sha: str


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """A judge measured against people.

    Attributes:
        judge: the judge as its file describes it; see `JudgeSpec.describe`.
        source: the labels.
        models: what served each model of the judge that is asked by another name, such as `policy`.
        written: when, ISO 8601 in UTC.
        version: of rlaif.
        measurement: the figures.
        attacks: how often each attack flips a right verdict; None where attacks were not asked for.
        judged: every label with all verdicts on it.
    """

    judge: Mapping[str, Any]
    source: LabelSource
    models: Mapping[str, str]
    written: str
    version: str
    measurement: Measurement
    attacks: tuple[AttackMeasurement, ...] | None
    judged: Sequence[Judged]

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
            "place": report.source.place,
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
        "figures": figures_json(found.figures),
        "confusion": {human: dict(row) for human, row in found.confusion.items()},
        "length": [asdict(entry) for entry in found.lengths],
        "reliability": [asdict(entry) for entry in found.bins],
        "judges": [_speaker_json(speaker) for speaker in found.speakers],
        "attacks": None if report.attacks is None else [asdict(attack) for attack in report.attacks],
        "worst": [disagreement_json(item) for item in worst_disagreements(report.judged)],
    }


def figures_json(figures: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return figures by name: value, low, high and n."""
    return {name: asdict(estimate) for name, estimate in figures.items()}


def disagreement_json(item: Judged) -> dict[str, Any]:
    """Return a label on which the judge decided against people."""
    decision = item.decision
    return {
        "id": item.label.id,
        "human": item.label.human,
        "judge": item.side,
        "preference": decision.preference if decision else None,
        "margin": decision.margin if decision else None,
    }


def comparison_json(judges: tuple[Mapping[str, Any], Mapping[str, Any]], found: Comparison) -> dict[str, Any]:
    """Return a comparison as plain values, all its flips included.

    Args:
        judges: the two judges as their files describe them.
        found: what came of them.
    """
    flips = [
        {
            "id": flip.first.label.id,
            "human": flip.first.label.human,
            "first": flip.first.side or flip.first.outcome,
            "second": flip.second.side or flip.second.outcome,
            "right": flip.better,
        }
        for flip in found.flips
    ]
    figures = {name: getattr(found, name) for name in ("first", "second", "difference", "same_decision")}
    counts = ("labels", "both_right", "only_first", "only_second", "neither", "p_value")
    return {
        "judges": [dict(judge) for judge in judges],
        **{name: getattr(found, name) for name in counts},
        "figures": figures_json(figures),
        "flips": flips,
    }


def verdict_rows(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return all raw verdicts as rows of `rlaif.store.schemas.VERDICTS`; the label's id is the prompt's."""
    return [asdict(verdict) for item in judged for verdict in item.verdicts]


def _speaker_json(speaker: SpeakerMeasurement) -> dict[str, Any]:
    return {
        "name": speaker.name,
        "sha": speaker.sha,
        "labels": speaker.labels,
        "verdicts": dict(speaker.by_status),
        "spent": asdict(speaker.spent),
        "figures": figures_json(speaker.figures),
        "reliability": [asdict(entry) for entry in speaker.bins],
    }
