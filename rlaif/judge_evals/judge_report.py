"""A judge measured against people: every figure with its interval, and the whole report as plain data.

Invariant: all intervals come from the same resamples; a figure that is undefined on these labels is left out, not shown
as zero. `report.json` holds every figure with its interval and count, `verdicts.parquet` every raw verdict; the page
and the terminal show nothing else. Keys are only added.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from rlaif.data.labels import Side
from rlaif.judge_evals import metrics
from rlaif.judge_evals.attacks import AttackMeasurement
from rlaif.judge_evals.judging import Errors, JudgedLabel, MemberVerdicts, verdicts_by_member
from rlaif.judge_evals.metrics import CalibrationBin, LengthBin
from rlaif.recipe.judge import Prices
from rlaif.stats.bootstrap import Estimate, Estimator, Figure, estimates

_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Spent:
    """Total cost of some verdicts; `money` and `currency` are None without prices."""

    prompt_tokens: int
    completion_tokens: int
    seconds: float
    money: float | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class MemberMeasurement:
    """The verdicts of one judge: a panel's member, or the measured judge itself.

    Attributes:
        labels: number of labels with a verdict of it.
        verdicts: number of its verdicts by status.
        figures: see `order_figures`, `verdict_figures` and, for soft preferences, `calibrate`; for verdicts that are
            read from log-probabilities, `mass_quantiles`.
        reliability: the reliability curve; empty without soft preferences.
    """

    name: str
    sha: str
    labels: int
    verdicts: Mapping[str, int]
    spent: Spent
    figures: Mapping[str, Estimate]
    reliability: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A judge compared with people.

    Attributes:
        preferred: number of labels on which people prefer one answer.
        questions: number of questions that the labels are about; the bootstrap draws questions.
        figures: of its decisions; see `decision_figures`. If only the decisions are soft, as those of a reward model or
            a panel, also those of `calibrate`.
        confusion: number of labels by people's side and by the judge's.
        length: how often it and people prefer the longer answer, by the ratio of lengths.
        reliability: the reliability curve of the decisions, if only they are soft.
        judges: those that gave the verdicts: a panel's members, or the judge itself.
    """

    labels: int
    preferred: int
    questions: int
    figures: Mapping[str, Estimate]
    confusion: Mapping[Side, Mapping[str, int]]
    length: tuple[LengthBin, ...]
    reliability: tuple[CalibrationBin, ...]
    judges: tuple[MemberMeasurement, ...]
    confidence: float
    seed: int

    @property
    def errors(self) -> Errors:
        """How many labels the figures rest on although a request for them failed."""
        return Errors.among(sum(row["error"] for row in self.confusion.values()), self.labels)


@dataclass(frozen=True, slots=True)
class JudgeReport:
    """A judge measured against people.

    Attributes:
        judge: the judge, from `JudgeSpec.describe`.
        labels_sha: sha256 of the labels in use, in their order.
        models: the model behind each name that the judge files use, such as `policy`.
        written: ISO 8601 in UTC.
        version: of rlaif.
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


def measure(judged: Sequence[JudgedLabel], *, prices: Mapping[str, Prices] | None = None, seed: int = 0) -> Measurement:
    """Measure a judge; `prices` are those of its verdicts, by the judge's sha256, where known."""
    clusters = [item.cluster for item in judged]
    # Each call draws the same resamples: they depend only on the clusters and the seed.
    estimate = partial(estimates, clusters=clusters, confidence=_CONFIDENCE, seed=seed)
    by_member = verdicts_by_member(judged)
    calibration: dict[str, Estimate] = {}
    reliability: tuple[CalibrationBin, ...] = ()
    # A single judge that compares decides by the preferences that its own curve shows.
    if len(by_member) != 1 or all(item.mean_preference is None for item in next(iter(by_member.values()))):
        decided = [(item.label.human, item.decision.preference if item.decision else None) for item in judged]
        calibration, reliability = metrics.calibrate(decided, estimate)
    return Measurement(
        labels=len(judged),
        preferred=sum(item.label.human != "tie" for item in judged),
        questions=len(set(clusters)),
        figures=_defined(metrics.decision_figures(judged), estimate) | calibration,
        confusion=metrics.confusion(judged),
        length=metrics.length_bins(judged, estimate),
        reliability=reliability,
        judges=tuple(
            _measure_member(name, sha, verdicts, prices=(prices or {}).get(sha), estimate=estimate)
            for (name, sha), verdicts in by_member.items()
        ),
        confidence=_CONFIDENCE,
        seed=seed,
    )


def _measure_member(
    name: str, sha: str, members: Sequence[MemberVerdicts], *, prices: Prices | None, estimate: Estimator
) -> MemberMeasurement:
    verdicts = [verdict for item in members for verdict in item.verdicts]
    prompt = sum(verdict.prompt_tokens for verdict in verdicts)
    completion = sum(verdict.completion_tokens for verdict in verdicts)
    # Both orders averaged, before orders that disagree become a tie.
    preferences = [(item.label.human, item.mean_preference) for item in members]
    calibration, reliability = metrics.calibrate(preferences, estimate)
    spent = (prices.cost(prompt, completion), prices.currency) if prices else (None, None)
    figures = metrics.order_figures(members) | metrics.verdict_figures(members, prices)
    return MemberMeasurement(
        name,
        sha,
        labels=sum(bool(item.verdicts) for item in members),
        verdicts=dict(Counter(verdict.status for verdict in verdicts)),
        spent=Spent(prompt, completion, sum(verdict.seconds for verdict in verdicts), *spent),
        figures=_defined(figures, estimate) | calibration | metrics.mass_quantiles(members),
        reliability=reliability,
    )


def _defined(figures: Mapping[str, Figure], estimate: Estimator) -> dict[str, Estimate]:
    found = zip(figures, estimate(list(figures.values())), strict=True)
    return {name: value for name, value in found if value.value is not None}


def worst_disagreements(judged: Sequence[JudgedLabel], count: int = 20) -> list[JudgedLabel]:
    """Return the labels on which the judge decides against people, the widest margins first and people's ties last."""

    def rank(item: JudgedLabel) -> tuple[bool, float]:
        return item.label.human == "tie", -(item.decision.margin or 0.0) if item.decision else 0.0

    against = [item for item in judged if item.side in ("a", "b") and item.side != item.label.human]
    return sorted(against, key=rank)[:count]


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
        "errors": asdict(report.measurement.errors),
        **figures,
        "attacks": None if report.attacks is None else [asdict(attack) for attack in report.attacks],
        "worst": [_disagreement_json(item) for item in worst_disagreements(report.judged)],
    }


def _disagreement_json(item: JudgedLabel) -> dict[str, Any]:
    decision = item.decision
    return {
        "id": item.label.id,
        "human": item.label.human,
        "judge": item.side,
        "preference": decision.preference if decision else None,
        "margin": decision.margin if decision else None,
    }
