"""The report's figures by name: how each is called, which part of the report it stands in, and what it says.

Invariant: every figure of `rlaif.judge_evals.metrics` and `.calibration` has one entry here, so that terminal, page
and documentation call it the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlaif.stats.bootstrap import Estimate

DASH = "–"
Unit = Literal["share", "number", "tokens", "seconds", "money"]
Part = Literal["people", "position", "length", "calibration", "verdicts", "cost"]


@dataclass(frozen=True, slots=True)
class FigureText:
    """How a figure is called.

    Attributes:
        part: of the report.
        title: short, for a table.
        unit: how its value is written.
        says: what it means, in one sentence.
    """

    part: Part
    title: str
    unit: Unit
    says: str


FIGURES: Mapping[str, FigureText] = {
    "accuracy": FigureText(
        "people", "accuracy", "share",
        "Labels on which the judge decides for the answer that people prefer; whatever else it says is not right.",
    ),
    "ties_half": FigureText(
        "people", "accuracy, a tie half", "share",
        "The same where a tie, disagreeing orders included, is right by half: what a coin would make of it.",
    ),
    "accuracy_decided": FigureText(
        "people", "accuracy where it decides", "share", "The same of those labels alone that the judge decides.",
    ),
    "kappa": FigureText(
        "people", "Cohen's kappa", "number",
        "Agreement with people beyond what the two's habits would give by chance: 0 is chance, 1 is all.",
    ),
    "tie": FigureText("people", "ties", "share", "Labels that it leaves undecided, its orders disagreeing included."),
    "unparsed": FigureText("people", "unparsed", "share", "Labels on which an answer of it could not be read."),
    "error": FigureText("people", "errors", "share", "Labels on which a question to it failed after all retries."),
    "silent": FigureText("people", "silent", "share", "Labels it says nothing of; `reference` without a reference."),
    "accuracy_ab": FigureText(
        "position", "accuracy, answer_a first", "share", "Verdicts for people's choice where answer_a is shown first.",
    ),
    "accuracy_ba": FigureText(
        "position", "accuracy, answer_b first", "share", "Verdicts for people's choice where answer_b is shown first.",
    ),
    "orders_agree": FigureText(
        "position", "orders agree", "share", "Labels on which both orders give one verdict, of those read in both.",
    ),
    "orders_kappa": FigureText(
        "position", "kappa of the orders", "number", "Cohen's kappa of the two orders' verdicts.",
    ),
    "prefers_first": FigureText(
        "position", "prefers what stands first", "share", "Verdicts for the answer shown first; 50% minds no place.",
    ),
    "first_both": FigureText(
        "position", "first shown, in both orders", "share", "Labels on which both orders prefer what is shown first.",
    ),
    "second_both": FigureText(
        "position", "second shown, in both orders", "share", "Labels on which both orders prefer what is shown second.",
    ),
    "prefers_longer": FigureText(
        "length", "prefers the longer", "share", "Decisions for the longer answer, of those between unequal lengths.",
    ),
    "people_prefer_longer": FigureText(
        "length", "people prefer the longer", "share", "The same of people's choices: the share that it should have.",
    ),
    "always_longer": FigureText(
        "length", "accuracy of always-longer", "share", "What whoever always takes the longer answer would reach.",
    ),
    "ece": FigureText(
        "calibration", "expected calibration error", "number",
        "How far confidence and accuracy are apart, on average over ten bins of confidence; 0 is calibrated.",
    ),
    "brier": FigureText(
        "calibration", "Brier score", "number",
        "Mean squared error of its probability that answer_a is better; 0.25 is always one half.",
    ),
    "verdict_tie": FigureText("verdicts", "tie", "share", "Verdicts that prefer neither answer."),
    "verdict_unparsed": FigureText("verdicts", "unparsed", "share", "Verdicts whose text could not be read."),
    "verdict_error": FigureText("verdicts", "error", "share", "Verdicts that failed after all retries."),
    "prompt_tokens": FigureText("cost", "prompt tokens a verdict", "tokens", "Of verdicts that were paid."),
    "completion_tokens": FigureText("cost", "answer tokens a verdict", "tokens", "Of verdicts that were paid."),
    "seconds": FigureText(
        "cost", "seconds a verdict", "seconds", "From asking to answer, waiting in line included; verdicts overlap.",
    ),
    "money": FigureText("cost", "money a verdict", "money", "Of verdicts that were paid, at the judge file's prices."),
}  # fmt: skip


def written(value: float | None, unit: Unit, currency: str | None = None) -> str:
    """Return a value in its unit: `94.0%`, `0.816`, `1,204`, `0.35 s`, `0.0012 USD`."""
    if value is None:
        return DASH
    if unit == "share":
        return f"{100 * value:.1f}%"
    if unit == "tokens":
        return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}"
    if unit == "seconds":
        return f"{value:.2f} s"
    if unit == "money":
        return f"{value:,.2f} {currency}" if value >= 1 else f"{value:.3g} {currency}"
    return f"{value:.3f}"


def interval(found: Estimate, unit: Unit) -> str:
    """Return an estimate's interval, `[89.0%, 98.0%]`; "" where it has none.

    Where all labels say the same, resampling them says nothing: an interval without width is not shown as one.
    """
    if found.low is None or found.high is None:
        return ""
    low, high = written(found.low, unit, ""), written(found.high, unit, "")
    return "" if low == high else f"[{low.rstrip()}, {high.rstrip()}]"
