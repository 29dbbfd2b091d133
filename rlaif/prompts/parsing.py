"""Reads the answer of a judge's model: the choice, the number or the JSON that it gives as its verdict.

Invariant: no text raises, and a text that is not plainly a verdict is `unparsed`. A line that begins with the mark of a
quotation holds an answer's words, repeated by the model, and is never read; so a choice that an answer forges cannot
come back as the verdict.
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
    """A verdict as read from one answer of a judge's model.

    Attributes:
        status: only `ok` has a value.
        value: of two answers, P(the one shown first is better) in [0, 1], never 0.5; of one, its rating.
    """

    status: ReadStatus
    value: float | None = None


FIRST, SECOND = Reading("ok", 1.0), Reading("ok", 0.0)
TIE, UNPARSED = Reading("tie"), Reading("unparsed")


def preference_reading(preference: float) -> Reading:
    """Return the reading of P(the answer shown first is better); NaN is `unparsed` and 0.5 a tie."""
    if math.isnan(preference):
        return UNPARSED
    return TIE if preference == 0.5 else Reading("ok", preference)


def choice_readings(choices: tuple[str, str], tie_choice: str | None) -> dict[str, Reading]:
    """Return the reading of each choice: of the answer shown first, of the second, and of a tie."""
    readings = {choices[0]: FIRST, choices[1]: SECOND}
    return readings if tie_choice is None else {**readings, tie_choice: TIE}


def read_choice(text: str, pattern: re.Pattern[str], readings: Mapping[str, Reading]) -> Reading:
    """Read the last choice in a text.

    Args:
        text: the answer of the judge's model.
        pattern: finds a choice; its one group captures it.
        readings: of each choice; case and outer white space are ignored.

    Returns:
        The reading of the last match. If that captured none of the choices it is `unparsed`, never an earlier match: a
        model that ends with a choice that was not offered has not chosen one that it named on the way.
    """
    captured = _last_match(text, pattern).strip().casefold()
    return {choice.casefold(): reading for choice, reading in readings.items()}.get(captured, UNPARSED)


def read_number(text: str, scale: tuple[float, float], pattern: re.Pattern[str] | None = None) -> Reading:
    """Read the rating of one answer.

    Args:
        text: the answer of the judge's model.
        scale: least and greatest rating.
        pattern: finds the rating, the last match counting; its one group captures it. None takes the last number.

    Returns:
        The rating; `unparsed` for a number off the scale, a range, a date, a percentage, or no number. "4/5" and
        "4 out of 5" are 4 where 5 is the greatest rating.
    """
    if pattern is not None:
        number = _last_match(text, pattern).strip()
    else:
        greatest = re.escape(f"{scale[1]:g}")
        rest = re.sub(rf"\s*(?:/|\bout\s+of\b)\s*{greatest}(?![\d.,]*\d)", "", _folded(own_words(text)), flags=re.I)
        number = next(reversed(_NUMBERS.findall(rest)), "")
    if not _NUMBER.fullmatch(number):
        return UNPARSED
    value = float(number.replace("−", "-"))
    return Reading("ok", value) if scale[0] <= value <= scale[1] else UNPARSED


def read_json(text: str, model: type[BaseModel]) -> BaseModel | None:
    """Return a text's JSON object, or None where it does not fit the model. A fence of ``` around it is left out."""
    fenced = _FENCE.fullmatch(text.strip())
    try:
        return model.model_validate_json(fenced.group(1) if fenced else text)
    except ValidationError:
        return None


def expected_rating(logprobs: Sequence[float], ratings: Sequence[float]) -> Reading:
    """Return the mean rating under the probabilities of the ratings' choices, scaled to add up to one.

    The probability-weighted score of G-Eval (Liu et al. 2023, arXiv:2303.16634, equation 1), from one step's exact
    probabilities rather than from samples.

    Args:
        logprobs: natural log-probability of each choice, in [-inf, 0].
        ratings: of each choice, in the same order.
    """
    best = max(logprobs, default=math.nan)
    if not -math.inf < best < math.inf or any(map(math.isnan, logprobs)):
        return UNPARSED
    weights = [math.exp(logprob - best) for logprob in logprobs]
    mean = math.fsum(weight * rating for weight, rating in zip(weights, ratings, strict=True)) / math.fsum(weights)
    return Reading("ok", min(max(mean, min(ratings)), max(ratings)))


def own_words(text: str) -> str:
    """Return the text of a judge's model with the lines emptied that quote an answer."""
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


def _last_match(text: str, pattern: re.Pattern[str]) -> str:
    """Return the last capture of a pattern, or "".

    A model that writes in another language may put its choice in that language's brackets or full-width letters, and so
    may a pattern: the text is searched as it is and folded to ASCII.
    """
    words = own_words(text)
    matches = [*pattern.finditer(words), *pattern.finditer(_folded(words))]
    if not matches:
        return ""
    last = max(matches, key=lambda match: (match.end(), match.start()))
    return _folded(last.group(1) or "")


def preference_of(first_logprob: float, second_logprob: float) -> float:
    """Return P(first) of two choices, exp(a) / (exp(a) + exp(b)); NaN where that is undefined.

    Args:
        first_logprob, second_logprob: natural log-probabilities, in [-inf, 0]; not both -inf.
    """
    difference = first_logprob - second_logprob
    if math.isnan(difference) or math.inf in (first_logprob, second_logprob):
        return math.nan
    # Of a number in [0.5, 1], 1 - p is exact: so the two orders of the same log-probabilities add up to 1.
    winner = 1.0 / (1.0 + math.exp(-abs(difference)))
    return winner if difference >= 0 else 1.0 - winner
