"""The figures of a judge report by name: title, part of the report, unit and meaning.

Invariant: every figure of `rlaif.judge_evals.metrics` has one entry here, from which the terminal, the page and
docs/judges.md take their text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "number", "tokens", "seconds", "money"]
Part = Literal["people", "position", "length", "calibration", "verdicts", "cost"]


@dataclass(frozen=True, slots=True)
class FigureDefinition:
    part: Part
    title: str
    unit: Unit
    meaning: str


def _part(part: Part, **figures: tuple[str, Unit, str]) -> dict[str, FigureDefinition]:
    return {name: FigureDefinition(part, *figure) for name, figure in figures.items()}


FIGURES: Mapping[str, FigureDefinition] = {
    **_part(
        "people",
        accuracy=("accuracy", "share", "Labels on which the judge decides for the answer that people prefer, of those "
            "on which people prefer one."),
        ties_half=("accuracy, a tie half", "share",
            "Accuracy with a tie, which includes orders that disagree, counted as one half; chance is 50%."),
        accuracy_decided=("accuracy where it decides", "share", "Accuracy on the labels that the judge decides."),
        kappa=("Cohen's kappa", "number",
            "Agreement with people over a, b and tie, beyond chance: 0 is chance, 1 is full agreement."),
        tie=("ties", "share", "Labels that the judge leaves undecided, including those on which its orders disagree."),
        unparsed=("unparsed", "share", "Labels with a verdict that could not be read."),
        error=("errors", "share", "Labels on which a request failed after all retries."),
        silent=("silent", "share",
            "Labels that the judge leaves to another: `reference` cannot tell, or has no gold answer."),
    ),
    **_part(
        "position",
        accuracy_ab=("accuracy, answer_a first", "share",
            "Labels on which the judge prefers people's choice with answer_a shown first."),
        accuracy_ba=("accuracy, answer_b first", "share",
            "Labels on which the judge prefers people's choice with answer_b shown first."),
        orders_agree=("orders agree", "share", "Labels on which both orders give one verdict, of those read in both."),
        orders_kappa=("kappa of the orders", "number", "Cohen's kappa of the two orders' verdicts."),
        prefers_first=("prefers the first shown", "share",
            "Verdicts for the answer shown first, of those that prefer one; 50% means no position bias."),
        first_both=("first shown, in both orders", "share",
            "Labels on which both orders prefer the answer shown first."),
        second_both=("second shown, in both orders", "share",
            "Labels on which both orders prefer the answer shown second."),
    ),
    **_part(
        "length",
        prefers_longer=("prefers the longer", "share",
            "Decisions for the longer answer, of those between answers of different length."),
        people_prefer_longer=("people prefer the longer", "share",
            "The same share of people's choices; a judge should match it."),
        always_longer=("accuracy of always-longer", "share",
            "Accuracy of always choosing the longer answer; equal lengths count one half."),
    ),
    **_part(
        "calibration",
        ece=("expected calibration error", "number",
            "Mean distance between confidence and accuracy over ten bins of confidence; 0 is calibrated."),
        brier=("Brier score", "number",
            "Mean squared error of P(answer_a is better); always answering one half gives 0.25."),
    ),
    **_part(
        "verdicts",
        verdict_tie=("tie", "share", "Verdicts that prefer neither answer."),
        verdict_unparsed=("unparsed", "share", "Verdicts whose text could not be read."),
        verdict_error=("error", "share", "Verdicts that failed after all retries."),
        verdict_silent=("silent", "share", "Verdicts of a judge that has read the answer and cannot tell."),
        low_mass=("mass below the limit", "share", "Verdicts whose choices together hold less of the first token's "
            "probability than the prompt's `min_mass`, of those read from log-probabilities."),
        mass_p5=("mass, 5% quantile", "share", "In one verdict of twenty the choices together hold less than this."),
        mass_p25=("mass, 25% quantile", "share", "In a quarter of the verdicts they hold less."),
        mass_p50=("mass, median", "share", "In half of the verdicts they hold less."),
        mass_p75=("mass, 75% quantile", "share", "In a quarter of the verdicts they hold more."),
        mass_p95=("mass, 95% quantile", "share", "In one verdict of twenty they hold more."),
    ),
    **_part(
        "cost",
        prompt_tokens=("prompt tokens a verdict", "tokens", "Mean over the paid verdicts."),
        completion_tokens=("answer tokens a verdict", "tokens", "Mean over the paid verdicts."),
        seconds=("seconds a verdict", "seconds", "From request to response, queueing included; verdicts overlap."),
        money=("money a verdict", "money", "Mean over the paid verdicts, at the judge file's prices."),
    ),
}  # fmt: skip
