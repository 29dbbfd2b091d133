"""From what a judge said of labels to its measurement: every figure with its interval.

Invariant: all intervals come of the same resamples, and a figure that is undefined on these labels is left out rather
than shown as a zero.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlaif.data.labels import Side
from rlaif.judge_evals.calibration import (
    CalibrationFigures,
    calibration_figures,
    preferences_of_decisions,
    preferences_of_speaker,
)
from rlaif.judge_evals.metrics import confusion, decision_figures, length_bins, order_figures, verdict_figures
from rlaif.judge_evals.outcomes import Judged, Spoken, speakers, spoken
from rlaif.recipe.backend import Prices
from rlaif.stats.bootstrap import Estimate, Figure, estimates


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
class Spent:
    """What verdicts cost together; `money` and `currency` are None where no price is known."""

    prompt_tokens: int
    completion_tokens: int
    seconds: float
    money: float | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class SpeakerMeasurement:
    """How one judge spoke: the judge itself, or one member of a panel.

    Attributes:
        name, sha: of the judge.
        labels: on which it gave a verdict.
        by_status: its verdicts by status.
        spent: what they cost.
        figures: see `order_figures`, `verdict_figures` and, of a soft judge, `calibration_figures`.
        bins: the reliability curve; empty where the judge gives no soft preferences.
    """

    name: str
    sha: str
    labels: int
    by_status: Mapping[str, int]
    spent: Spent
    figures: Mapping[str, Estimate]
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class Measurement:
    """A judge against people.

    Attributes:
        labels: how many it was asked.
        preferred: those of them on which people prefer one answer.
        questions: that the labels are about; the bootstrap draws questions.
        figures: of its decisions; see `decision_figures`, and `calibration_figures` of a judge whose decisions alone
            are soft, such as a reward model or a panel.
        confusion: labels by what people say and what the judge decided.
        lengths: how it and people take to the longer answer, by how much longer that is.
        bins: the reliability curve of the decisions, as above.
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
    bins: tuple[CalibrationBin, ...]
    speakers: tuple[SpeakerMeasurement, ...]
    confidence: float
    seed: int


def measure(
    judged: Sequence[Judged], *, prices: Mapping[str, Prices] | None = None, confidence: float = 0.95, seed: int = 0
) -> Measurement:
    """Measure a judge.

    Args:
        judged: what it said of each label.
        prices: what verdicts are charged for, by the judge's sha256; None knows none.
        confidence: level of the intervals, in (0, 1).
        seed: of the bootstrap.
    """
    prices = prices or {}
    voices = speakers(judged)
    said = {sha: spoken(judged, sha) for _, sha in voices}
    curves: dict[str, CalibrationFigures | None] = {
        sha: calibration_figures(preferences_of_speaker(said[sha])) for _, sha in voices
    }
    # A single judge of two answers decides by the preferences that its own curve has.
    if len(voices) != 1 or not any(item.mean_preference is not None for item in said[voices[0][1]]):
        curves[""] = calibration_figures(preferences_of_decisions(judged))
    lengths = length_bins(judged)
    # By who ("" is the judge's decisions), name and bin, so that one pass of the bootstrap serves all.
    wanted: dict[tuple[str, str, int], Figure] = {("", name, -1): f for name, f in decision_figures(judged).items()}
    for index, (_, _, judge, people) in enumerate(lengths):
        wanted["", "longer, judge", index], wanted["", "longer, people", index] = judge, people
    for _, sha in voices:
        own = order_figures(said[sha]) | verdict_figures(said[sha], prices.get(sha))
        wanted |= {(sha, name, -1): figure for name, figure in own.items()}
    for who, curve in curves.items():
        if curve is not None:
            wanted[who, "ece", -1], wanted[who, "brier", -1] = curve.ece, curve.brier
            wanted |= {(who, "bin", index): bin_.right for index, bin_ in enumerate(curve.bins)}
    values = estimates(list(wanted.values()), [item.cluster for item in judged], confidence=confidence, seed=seed)
    found = dict(zip(wanted, values, strict=True))

    def figures(who: str) -> dict[str, Estimate]:
        own = {name: value for (whose, name, index), value in found.items() if whose == who and index < 0}
        return {name: value for name, value in own.items() if value.value is not None}

    def bins(who: str) -> tuple[CalibrationBin, ...]:
        curve = curves.get(who)
        return tuple(
            CalibrationBin(bin_.low, bin_.high, bin_.confidence, found[who, "bin", index])
            for index, bin_ in enumerate(curve.bins if curve else ())
        )

    return Measurement(
        labels=len(judged),
        preferred=sum(item.label.human != "tie" for item in judged),
        questions=len({item.cluster for item in judged}),
        figures=figures(""),
        confusion=confusion(judged),
        lengths=tuple(
            LengthBin(low, high, found["", "longer, judge", index], found["", "longer, people", index])
            for index, (low, high, *_) in enumerate(lengths)
        ),
        bins=bins(""),
        speakers=tuple(
            SpeakerMeasurement(
                name,
                sha,
                labels=sum(bool(item.verdicts) for item in said[sha]),
                by_status=Counter(verdict.status for item in said[sha] for verdict in item.verdicts),
                spent=_spent(said[sha], prices.get(sha)),
                figures=figures(sha),
                bins=bins(sha),
            )
            for name, sha in voices
        ),
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


def _spent(said: Sequence[Spoken], prices: Prices | None) -> Spent:
    verdicts = [verdict for item in said for verdict in item.verdicts]
    prompt = sum(verdict.prompt_tokens for verdict in verdicts)
    completion = sum(verdict.completion_tokens for verdict in verdicts)
    return Spent(
        prompt,
        completion,
        sum(verdict.seconds for verdict in verdicts),
        prices.cost(prompt, completion) if prices else None,
        prices.currency if prices else None,
    )
