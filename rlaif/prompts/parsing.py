"""Reads what a judge's model said: the label, the number or the JSON that it gave as its verdict.

Invariant: whatever the text, nothing raises, and what is not plainly a verdict is `unparsed`. A line that begins with
the mark of a quotation holds an answer's words, repeated by the judge, and is never read; so a label that an answer
forges cannot come back as the verdict.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

ReadStatus = Literal["ok", "tie", "unparsed"]


@dataclass(frozen=True, slots=True)
class Reading:
    """What one answer of a judge's model says.

    Attributes:
        status: `ok` has a value, the others have none.
        value: of two answers, P(the one shown first is better) in [0, 1], never 0.5; of one, its rating.
    """

    status: ReadStatus
    value: float | None = None


FIRST, SECOND = Reading("ok", 1.0), Reading("ok", 0.0)
TIE, UNPARSED = Reading("tie"), Reading("unparsed")


def preference_reading(preference: float) -> Reading:
    """Return what P(the answer shown first is better) says; NaN is `unparsed` and 0.5 a tie."""
    if math.isnan(preference):
        return UNPARSED
    return TIE if preference == 0.5 else Reading("ok", preference)


def choices_of(labels: tuple[str, str], tie_label: str | None) -> dict[str, Reading]:
    """Return what each label says: that of the answer shown first, that of the second, and that of a tie."""
    choices = {labels[0]: FIRST, labels[1]: SECOND}
    return choices if tie_label is None else {**choices, tie_label: TIE}


def read_label(text: str, expression: re.Pattern[str], choices: Mapping[str, Reading]) -> Reading:
    """Read the last label of a text.

    Args:
        text: what the judge's model said.
        expression: finds a label; its one group captures it.
        choices: what each label says. Case and outer white space count for nothing.

    Returns:
        What the last match says. Where that captured none of the labels it is `unparsed`, never an earlier match: a
        judge that ends with a label that was not offered has not chosen one that it named on the way.
    """
    said = _last_match(text, expression)
    return {label.casefold(): reading for label, reading in choices.items()}.get(said.strip().casefold(), UNPARSED)


def read_number(text: str, scale: tuple[float, float], expression: re.Pattern[str] | None = None) -> Reading:
    """Read the rating of one answer.

    Args:
        text: what the judge's model said.
        scale: least and greatest rating.
        expression: finds the rating, the last match counting; its one group captures it. None takes the last number.

    Returns:
        `unparsed` for a number off the scale, a range, a date, a percentage, or none. "4/5" and "4 out of 5" are 4
        where 5 is the greatest rating.
    """
    if expression is not None:
        said = _last_match(text, expression).strip()
    else:
        greatest = re.escape(f"{scale[1]:g}")
        rest = re.sub(rf"\s*(?:/|\bout\s+of\b)\s*{greatest}(?![\d.,]*\d)", "", _folded(own_words(text)), flags=re.I)
        said = next(reversed(_NUMBERS.findall(rest)), "")
    if not _NUMBER.fullmatch(said):
        return UNPARSED
    value = float(said.replace("−", "-"))
    return Reading("ok", value) if scale[0] <= value <= scale[1] else UNPARSED


def read_json(text: str, model: type[BaseModel]) -> BaseModel | None:
    """Return a text's JSON object, held to a model; None where it is not one. A fence of ``` around it is left out."""
    fenced = _FENCE.fullmatch(text.strip())
    try:
        return model.model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError:
        return None


def expected_rating(logprobs: Sequence[float], ratings: Sequence[float]) -> Reading:
    """Return the mean rating under the probabilities of the ratings' labels, these made to add up to one.

    The probability-weighted score of G-Eval (Liu et al. 2023, arXiv:2303.16634, equation 1), from one step's exact
    probabilities rather than from samples.

    Args:
        logprobs: natural log-probability of each label, in [-inf, 0].
        ratings: what each label stands for, in the same order.
    """
    best = max(logprobs, default=math.nan)
    if not -math.inf < best < math.inf or any(map(math.isnan, logprobs)):
        return UNPARSED
    weights = [math.exp(logprob - best) for logprob in logprobs]
    mean = math.fsum(weight * rating for weight, rating in zip(weights, ratings, strict=True)) / math.fsum(weights)
    return Reading("ok", min(max(mean, min(ratings)), max(ratings)))


def own_words(text: str) -> str:
    """Return a judge's text with the lines emptied that quote an answer."""
    return "\n".join("" if line.lstrip().startswith(_QUOTES) else line for line in text.splitlines())


# Ours, its full-width form, and Markdown's.
_QUOTES = ("|", "｜", ">")
# A run of digits and what may stand between them, so that a range, a date or "1,204" is one run and no rating.
_NUMBERS = re.compile(r"(?<![^\W_])[-+−]?[0-9](?:[0-9.,/:%–—−-]*[0-9])?%?(?![^\W_])")
_NUMBER = re.compile(r"[-+−]?[0-9]+(?:\.[0-9]+)?")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL | re.IGNORECASE)

# One character for one, so that places in the folded text are places in the text.
_FOLDED: dict[int, Any] = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    0x3000: " ",
    **dict.fromkeys(map(ord, "【〔〖〘〚「『《〈⟦⟨｢"), "["),
    **dict.fromkeys(map(ord, "】〕〗〙〛」』》〉⟧⟩｣"), "]"),
}


def _folded(text: str) -> str:
    """Return the text with full-width characters and CJK brackets as their ASCII counterparts."""
    return text.translate(_FOLDED)


def _last_match(text: str, expression: re.Pattern[str]) -> str:
    """Return what the expression captures last, or "".

    A judge that writes in another language may put its label in that language's brackets or full-width letters, and an
    expression may be written so too: the text is searched as it is and folded to ASCII.
    """
    words = own_words(text)
    matches = [*expression.finditer(words), *expression.finditer(_folded(words))]
    if not matches:
        return ""
    last = max(matches, key=lambda match: (match.end(), match.start()))
    return _folded(last.group(1) or "")


def preference_of(first_logprob: float, second_logprob: float) -> float:
    """Return P(first) among two labels, exp(a) / (exp(a) + exp(b)); NaN where that is undefined.

    Args:
        first_logprob, second_logprob: natural log-probabilities, in [-inf, 0]; not both -inf.
    """
    difference = first_logprob - second_logprob
    if math.isnan(difference) or math.inf in (first_logprob, second_logprob):
        return math.nan
    # Of a number in [0.5, 1], 1 - p is exact: so the two orders of the same log-probabilities add up to 1.
    winner = 1.0 / (1.0 + math.exp(-abs(difference)))
    return winner if difference >= 0 else 1.0 - winner
