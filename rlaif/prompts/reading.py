"""What is read from one answer of a judge's model, and the readings of log-probabilities."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.data.criteria import Mark


@dataclass(frozen=True, slots=True)
class Reading:
    """A verdict as read from one answer of a judge's model.

    Attributes:
        value: for `ok` alone. Of two answers, P(the one shown first is better) in [0, 1], never 0.5; of one, its
            rating.
        marks: those that the rating is made of.
    """

    status: Literal["ok", "tie", "unparsed"]
    value: float | None = None
    marks: tuple[Mark, ...] = ()


FIRST, SECOND = Reading("ok", 1.0), Reading("ok", 0.0)
TIE, UNPARSED = Reading("tie"), Reading("unparsed")


def mass_of(logprobs: Sequence[float]) -> float | None:
    """Return the probability that some tokens have together, in [0, 1]; None where a log-probability is undefined."""
    if not logprobs or any(map(math.isnan, logprobs)) or math.inf in logprobs:
        return None
    # Rounding, and an endpoint's own, may lift the sum above one.
    return min(1.0, math.fsum(math.exp(min(0.0, logprob)) for logprob in logprobs))


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


def preference_of(first_logprob: float, second_logprob: float) -> float:
    """Return P(first) of two natural log-probabilities, exp(a) / (exp(a) + exp(b)); NaN where that is undefined."""
    difference = first_logprob - second_logprob
    if math.isnan(difference) or math.inf in (first_logprob, second_logprob):
        return math.nan
    # Of a number in [0.5, 1], 1 - p is exact: so the two orders of the same log-probabilities add up to 1.
    winner = 1.0 / (1.0 + math.exp(-abs(difference)))
    return winner if difference >= 0 else 1.0 - winner
