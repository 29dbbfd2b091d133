"""Reads the answer of a judge's model: the choice, the number or the JSON object that it gives as its verdict.

Invariant: no text raises, and a text that is not plainly a verdict is `unparsed`. A line that begins with the mark of a
quotation holds an answer's words, repeated by the model, and is never read; so a choice that an answer forges cannot
come back as the verdict.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.config import JsonDict

MOST_RATINGS = 20
"""Most choices of a scale: endpoints return the log-probabilities of 20 tokens."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A verdict as read from one answer of a judge's model.

    Attributes:
        value: for `ok` alone. Of two answers, P(the one shown first is better) in [0, 1], never 0.5; of one, its
            rating.
    """

    status: Literal["ok", "tie", "unparsed"]
    value: float | None = None


FIRST, SECOND = Reading("ok", 1.0), Reading("ok", 0.0)
TIE, UNPARSED = Reading("tie"), Reading("unparsed")


def read_choice(text: str, pattern: re.Pattern[str], readings: Mapping[str, Reading]) -> Reading:
    """Read the choice that a pattern's one group captures last; case and outer white space are ignored.

    If that is none of the choices it is `unparsed`, never an earlier match: a model that ends with a choice that was
    not offered has not chosen one that it named on the way.
    """
    captured = _last_match(text, pattern).strip().casefold()
    return {choice.casefold(): reading for choice, reading in readings.items()}.get(captured, UNPARSED)


def read_number(text: str, scale: tuple[float, float], pattern: re.Pattern[str] | None = None) -> Reading:
    """Read the rating that a pattern's one group captures last; without a pattern, the last number.

    A number off the scale, a range, a date, a percentage, or no number is `unparsed`. "4/5" and "4 out of 5" are 4
    where 5 is the greatest rating.
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


@lru_cache
def choice_model(choices: tuple[str, ...], reason: bool) -> type[BaseModel]:
    """Return the model of an answer with a `choice`, after a `reason` where one is asked for."""
    return _answer_model("choice", Literal[choices], reason)


@lru_cache
def score_model(low: float, high: float, reason: bool) -> type[BaseModel]:
    """Return the model of an answer with a `score` on a scale; of two whole numbers, ratings are whole numbers too."""
    if low.is_integer() and high.is_integer() and high - low < MOST_RATINGS:
        # Not every endpoint enforces the bounds of a number; all enforce an enumeration.
        listed: JsonDict = {"enum": list(range(int(low), int(high) + 1))}
        return _answer_model("score", Annotated[int, Field(ge=low, le=high, json_schema_extra=listed)], reason)
    return _answer_model("score", Annotated[float, Field(ge=low, le=high, allow_inf_nan=False)], reason)


def _answer_model(name: str, type_: Any, reason: bool) -> type[BaseModel]:
    # The reason comes first, so that the model gives it before the verdict.
    fields: dict[str, Any] = {"reason": (str, ...)} if reason else {}
    fields[name] = (type_, ...)
    return create_model("Answer", __config__=ConfigDict(extra="forbid", strict=True), **fields)


@lru_cache
def schema_of(model: type[BaseModel]) -> str:
    """Return a model's JSON schema, as JSON."""
    tree = model.model_json_schema()
    for field in (tree, *tree["properties"].values()):
        field.pop("title", None)
        if "enum" in field:
            field.pop("minimum", None)
            field.pop("maximum", None)
    return json.dumps(tree)


def expected_rating(logprobs: Sequence[float], ratings: Sequence[float]) -> Reading:
    """Return the mean rating under the natural log-probabilities of the ratings' choices, scaled to add up to one.

    The probability-weighted score of G-Eval (Liu et al. 2023, arXiv:2303.16634, equation 1), from one step's exact
    probabilities rather than from samples.
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
    """Return P(first) of two natural log-probabilities, exp(a) / (exp(a) + exp(b)); NaN where that is undefined."""
    difference = first_logprob - second_logprob
    if math.isnan(difference) or math.inf in (first_logprob, second_logprob):
        return math.nan
    # Of a number in [0.5, 1], 1 - p is exact: so the two orders of the same log-probabilities add up to 1.
    winner = 1.0 / (1.0 + math.exp(-abs(difference)))
    return winner if difference >= 0 else 1.0 - winner
