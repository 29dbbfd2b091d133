"""From what a judge said of labels to its measurement: every figure with its interval.

Invariant: all intervals come of the same resamples, and a figure that is undefined on these labels is left out rather
than shown as a zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.judging.report.bootstrap import Estimate, Figure, estimates
from rlaif.judging.report.calibration import calibration_figures
from rlaif.judging.report.labels import Side
from rlaif.judging.report.metrics import confusion, decision_figures, length_bins, order_figures, verdict_figures
from rlaif.judging.report.outcomes import Judged, speakers, spoken


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Labels of about one confidence: its ends, the mean confidence, and the share on which the judge is right."""

    low: float
    high: float
    confidence: float
    right: Estimate


@dataclass(frozen=True, slots=True)
class LengthBin:
    """Labels whose longer answer is so many times as long as the other: how often the judge and people take it."""

    low: float
    high: float
    judge: Estimate
    people: Estimate


@dataclass(frozen=True, slots=True)
class SpeakerMeasurement:
    """How one judge spoke: the judge itself, or one member of a panel.

    Attributes:
        name, sha: of the judge.
        labels: on which it gave a verdict.
        by_status: its verdicts by status.
        prompt_tokens, completion_tokens, seconds: what they cost together.
        figures: see `order_figures`, `verdict_figures` and, of a soft judge, `calibration_figures`.
        bins: the reliability curve; empty where the judge gives no soft preferences.
    """

    name: str
    sha: str
    labels: int
    by_status: Mapping[str, int]
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    figures: Mapping[str, Estimate]
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A judge against people.

    Attributes:
        labels: how many it was asked.
        preferred: those of them on which people prefer one answer.
        questions: that the labels are about; the bootstrap draws questions.
        figures: of its decisions; see `decision_figures`.
        confusion: labels by what people say and what the judge decided.
        lengths: how it and people take to the longer answer, by how much longer that is.
        speakers: the judges that spoke.
        confidence: level of the intervals.
        seed: of the bootstrap.
    """

    labels: int
    preferred: int
    questions: int
    figures: Mapping[str, Estimate]
    confusion: Mapping[Side, Mapping[str, int]]
    lengths: tuple[LengthBin, ...]
    speakers: tuple[SpeakerMeasurement, ...]
    confidence: float
    seed: int


def measure(judged: Sequence[Judged], confidence: float = 0.95, seed: int = 0) -> Measurement:
    """Measure a judge.

    Args:
        judged: what it said of each label.
        confidence: level of the intervals, in (0, 1).
        seed: of the bootstrap.
    """
    voices = speakers(judged)
    said = {sha: spoken(judged, sha) for _, sha in voices}
    curves = {sha: calibration_figures(said[sha]) for _, sha in voices}
    # Keyed by who (None is the judge's decisions), name and bin, so that one pass of the bootstrap serves all.
    wanted: dict[tuple[str | None, str, int | None], Figure] = {
        (None, name, None): figure for name, figure in decision_figures(judged).items()
    }
    lengths = length_bins(judged)
    for index, (_, _, judge, people) in enumerate(lengths):
        wanted[None, "longer, judge", index], wanted[None, "longer, people", index] = judge, people
    for _, sha in voices:
        own = order_figures(said[sha]) | verdict_figures(said[sha])
        if curve := curves[sha]:
            own |= {"ece": curve.ece, "brier": curve.brier}
            for index, (*_, right) in enumerate(curve.bins):
                wanted[sha, "bin", index] = right
        wanted |= {(sha, name, None): figure for name, figure in own.items()}
    values = estimates(list(wanted.values()), [item.cluster for item in judged], confidence=confidence, seed=seed)
    found = dict(zip(wanted, values, strict=True))

    def of(who: str | None) -> dict[str, Estimate]:
        return {
            name: value
            for (whose, name, index), value in found.items()
            if whose == who and index is None and value.value is not None
        }

    def speaker(name: str, sha: str) -> SpeakerMeasurement:
        verdicts = [verdict for item in said[sha] for verdict in item.verdicts]
        curve = curves[sha]
        bins = [
            CalibrationBin(low, high, _mean(confidence_), found[sha, "bin", index])
            for index, (low, high, confidence_, _) in enumerate(curve.bins if curve else ())
        ]
        return SpeakerMeasurement(
            name,
            sha,
            labels=sum(bool(item.verdicts) for item in said[sha]),
            by_status=Counter(verdict.status for verdict in verdicts),
            prompt_tokens=sum(verdict.prompt_tokens for verdict in verdicts),
            completion_tokens=sum(verdict.completion_tokens for verdict in verdicts),
            seconds=sum(verdict.seconds for verdict in verdicts),
            figures=of(sha),
            bins=tuple(bins),
        )

    return Measurement(
        labels=len(judged),
        preferred=sum(item.label.human != "tie" for item in judged),
        questions=len({item.cluster for item in judged}),
        figures=of(None),
        confusion=confusion(judged),
        lengths=tuple(
            LengthBin(low, high, found[None, "longer, judge", index], found[None, "longer, people", index])
            for index, (low, high, *_) in enumerate(lengths)
        ),
        speakers=tuple(speaker(name, sha) for name, sha in voices),
        confidence=confidence,
        seed=seed,
    )


def worst_disagreements(judged: Sequence[Judged], count: int = 20) -> list[Judged]:
    """Return the labels on which the judge decides against people, the surest decisions first.

    People who prefer the other answer come before people who see a tie; among equals the labels' order stands.
    """
    against = [item for item in judged if item.side in ("a", "b") and item.side != item.label.human]
    return sorted(against, key=lambda item: (item.label.human == "tie", -_margin(item)))[:count]


def _margin(item: Judged) -> float:
    return (item.decision.margin or 0.0) if item.decision else 0.0


def _mean(figure: Figure) -> float:
    return float(figure.statistic(figure.columns.sum(axis=0, keepdims=True))[0])
