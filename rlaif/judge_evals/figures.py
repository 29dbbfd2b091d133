"""The figures of a judge report by name: title, part of the report, unit and meaning.

Invariant: every figure of `rlaif.judge_evals.metrics` and `.calibration` has one entry here, from which the terminal,
the page and docs/judges.md take their text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "number", "tokens", "seconds", "money"]
Part = Literal["people", "position", "length", "calibration", "verdicts", "cost"]


@dataclass(frozen=True, slots=True)
class FigureDefinition:
    """What a figure is called and what it means.

    Attributes:
        part: of the report.
        title: short, for a table.
        unit: of its value.
        meaning: in one or two sentences.
    """

    part: Part
    title: str
    unit: Unit
    meaning: str


FIGURES: Mapping[str, FigureDefinition] = {
    "accuracy": FigureDefinition(
        "people", "accuracy", "share",
        "Labels on which the judge decides for the answer that people prefer, of those on which people prefer one.",
    ),
    "ties_half": FigureDefinition(
        "people", "accuracy, a tie half", "share",
        "Accuracy with a tie, which includes orders that disagree, counted as one half; chance is 50%.",
    ),
    "accuracy_decided": FigureDefinition(
        "people", "accuracy where it decides", "share", "Accuracy on the labels that the judge decides.",
    ),
    "kappa": FigureDefinition(
        "people", "Cohen's kappa", "number",
        "Agreement with people over a, b and tie, beyond chance: 0 is chance, 1 is full agreement.",
    ),
    "tie": FigureDefinition(
        "people", "ties", "share",
        "Labels that the judge leaves undecided, including those on which its orders disagree.",
    ),
    "unparsed": FigureDefinition("people", "unparsed", "share", "Labels with a verdict that could not be read."),
    "error": FigureDefinition("people", "errors", "share", "Labels on which a request failed after all retries."),
    "silent": FigureDefinition(
        "people", "silent", "share",
        "Labels to which the judge does not apply, such as `reference` without a gold answer.",
    ),
    "accuracy_ab": FigureDefinition(
        "position", "accuracy, answer_a first", "share",
        "Labels on which the judge prefers people's choice with answer_a shown first.",
    ),
    "accuracy_ba": FigureDefinition(
        "position", "accuracy, answer_b first", "share",
        "Labels on which the judge prefers people's choice with answer_b shown first.",
    ),
    "orders_agree": FigureDefinition(
        "position", "orders agree", "share", "Labels on which both orders give one verdict, of those read in both.",
    ),
    "orders_kappa": FigureDefinition(
        "position", "kappa of the orders", "number", "Cohen's kappa of the two orders' verdicts.",
    ),
    "prefers_first": FigureDefinition(
        "position", "prefers the first shown", "share",
        "Verdicts for the answer shown first, of those that prefer one; 50% means no position bias.",
    ),
    "first_both": FigureDefinition(
        "position", "first shown, in both orders", "share",
        "Labels on which both orders prefer the answer shown first.",
    ),
    "second_both": FigureDefinition(
        "position", "second shown, in both orders", "share",
        "Labels on which both orders prefer the answer shown second.",
    ),
    "prefers_longer": FigureDefinition(
        "length", "prefers the longer", "share",
        "Decisions for the longer answer, of those between answers of different length.",
    ),
    "people_prefer_longer": FigureDefinition(
        "length", "people prefer the longer", "share", "The same share of people's choices; a judge should match it.",
    ),
    "always_longer": FigureDefinition(
        "length", "accuracy of always-longer", "share",
        "Accuracy of always choosing the longer answer; equal lengths count one half.",
    ),
    "ece": FigureDefinition(
        "calibration", "expected calibration error", "number",
        "Mean distance between confidence and accuracy over ten bins of confidence; 0 is calibrated.",
    ),
    "brier": FigureDefinition(
        "calibration", "Brier score", "number",
        "Mean squared error of P(answer_a is better); always answering one half gives 0.25.",
    ),
    "verdict_tie": FigureDefinition("verdicts", "tie", "share", "Verdicts that prefer neither answer."),
    "verdict_unparsed": FigureDefinition("verdicts", "unparsed", "share", "Verdicts whose text could not be read."),
    "verdict_error": FigureDefinition("verdicts", "error", "share", "Verdicts that failed after all retries."),
    "prompt_tokens": FigureDefinition("cost", "prompt tokens a verdict", "tokens", "Mean over the paid verdicts."),
    "completion_tokens": FigureDefinition("cost", "answer tokens a verdict", "tokens", "Mean over the paid verdicts."),
    "seconds": FigureDefinition(
        "cost", "seconds a verdict", "seconds", "From request to response, queueing included; verdicts overlap.",
    ),
    "money": FigureDefinition(
        "cost", "money a verdict", "money", "Mean over the paid verdicts, at the judge file's prices.",
    ),
}  # fmt: skip
