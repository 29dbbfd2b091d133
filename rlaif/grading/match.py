"""Compares an answer with a gold answer without a model: exact match for quantities, token F1 for text.

A gold answer is numeric if it is one quantity plus words that only frame it ("approximately 7%", "$0.84 per share").
`rlaif.grading.claims` finds the quantities that an answer claims. The score is 1 if the answer claims at least one
quantity and every claim matches the gold answer, else 0. An answer that claims two different amounts hedges and
scores 0, even if one of them is right. "$412.6 million, compared with $398 million in 2022" claims only one.

Two quantities match if they have compatible units and signs and the same value, within a relative tolerance or the
rounding of the gold answer. A percentage matches only a percentage. A gold answer without a scale word often comes
from a table that gives the scale in its header, so it also matches as written: "$11,588 million" matches "11,588". A
year matches only itself.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from rlaif.grading.claims import Claim, Kind, deciding_claims, read_claim
from rlaif.grading.quantities import Quantity, parse_quantities

TOLERANCE = 0.005
"""Largest relative difference between equal quantities; a figure rounded to three digits still counts as equal."""


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """Result of comparing an answer with a gold answer.

    Attributes:
        score: 0 or 1 for a numeric gold answer, else `f1`.
        numeric: whether the gold answer is a quantity.
        exact: whether the two texts are equal apart from case, articles and punctuation.
        f1: harmonic mean of token precision and token recall, in [0, 1].
    """

    score: float
    numeric: bool
    exact: bool
    f1: float


def score_answer(answer: str, gold_answer: str, tolerance: float = TOLERANCE) -> AnswerScore:
    """Score an answer against a gold answer. The module docstring defines the score.

    Args:
        answer: any text. A text without words and numbers scores 0.
        gold_answer: the text to compare it with.
        tolerance: relative difference within which two quantities are equal.
    """
    given, gold = normalized_tokens(answer), _gold_tokens(gold_answer)
    f1 = _f1(given, gold)
    exact = bool(given) and tuple(given) == gold
    wanted = numeric_gold_answer(gold_answer)
    if wanted is None:
        return AnswerScore(f1, False, exact, f1)
    return AnswerScore(float(_states(answer, wanted, tolerance)), True, exact, f1)


def contains_gold_answer(answer: str, gold_answer: str, tolerance: float = TOLERANCE) -> bool:
    """Whether the gold answer appears anywhere in the answer. Unlike a score, this check ignores hedging.

    Args:
        answer, gold_answer, tolerance: as in `score_answer`. No answer contains an empty gold answer.
    """
    wanted = numeric_gold_answer(gold_answer)
    if wanted is not None:
        return any(_matches(read_claim(answer, quantity), wanted, tolerance) for quantity in parse_quantities(answer))
    gold = " ".join(_gold_tokens(gold_answer))
    return bool(gold) and f" {gold} " in f" {' '.join(normalized_tokens(answer))} "


def token_f1(answer: str, gold_answer: str) -> float:
    """Return the token F1 of Rajpurkar et al. (2016, arXiv:1606.05250), in [0, 1]; 0 if either text has no tokens."""
    return _f1(normalized_tokens(answer), _gold_tokens(gold_answer))


# SQuAD's own script strips ASCII punctuation; filings also use typographic quotes and dashes.
_PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’“”–—−…")
_ARTICLES = frozenset(("a", "an", "the"))


def normalized_tokens(text: str) -> list[str]:
    """Return the tokens of a text as SQuAD compares them: lowercase, without punctuation and articles."""
    return [token for token in text.lower().translate(_PUNCTUATION).split() if token not in _ARTICLES]


@lru_cache(maxsize=4096)
def _gold_tokens(gold_answer: str) -> tuple[str, ...]:
    return tuple(normalized_tokens(gold_answer))


def _f1(given: list[str], gold: tuple[str, ...]) -> float:
    if not given or not gold:
        return 0.0
    same = sum((Counter(given) & Counter(gold)).values())
    return 2.0 * same / (len(given) + len(gold))


# Words that may surround the quantity of a numeric gold answer.
_FRAME = frozenset({
    "about", "approximately", "approx", "around", "roughly", "nearly", "almost", "over", "under", "up", "to", "at",
    "least", "most", "circa", "per", "share", "annum", "each", "in", "of", "by", "fiscal", "year", "fy", "an", "a",
    "the", "increase", "increased", "decrease", "decreased", "decline", "declined", "higher", "lower", "rise", "growth",
    "gain", "loss", "down", "more", "less", "employees", "people", "persons", "stores", "shares", "customers", "units",
    "locations", "times", "members", "plants",
})  # fmt: skip
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST_NUMERIC = 80


@lru_cache(maxsize=4096)
def numeric_gold_answer(gold_answer: str) -> Claim | None:
    """Return the claim of a numeric gold answer, or None if the gold answer is text."""
    if len(gold_answer) > _LONGEST_NUMERIC:
        return None
    quantities = parse_quantities(gold_answer)
    if len(quantities) != 1:
        return None
    (quantity,) = quantities
    span = gold_answer[quantity.start : quantity.end]
    rest = gold_answer[: quantity.start] + " " + gold_answer[quantity.end :]
    if quantity.year:
        rest = rest + " " + span.strip("0123456789")  # A month or a quarter makes it a date, which counts as text.
    if any(map(str.isdigit, rest)) or not all(word in _FRAME for word in _WORD.findall(rest.lower())):
        return None
    return read_claim(gold_answer, quantity)


def _states(answer: str, wanted: Claim, tolerance: float) -> bool:
    for claims in deciding_claims(answer, _kinds(wanted.quantity)):
        if claims and _agree(claims, wanted, tolerance):
            return True
        if claims and _has_explicit_kind(wanted.quantity):
            return False
    return False


def _agree(claims: list[Claim], wanted: Claim, tolerance: float) -> bool:
    """Whether the claims of a sentence match the gold answer without hedging."""
    roles = {claim.role for claim in claims}
    if roles == {"change", "end"}:
        # "Rose by X to Y" states a change and a level; it does not hedge.
        return any(_agree([claim for claim in claims if claim.role == role], wanted, tolerance) for role in roles)
    first = claims[0].quantity.value
    if not wanted.quantity.year and all(_close(claim.quantity.value, first, tolerance) for claim in claims[1:]):
        # One amount, possibly written twice: "$8,738 million, or $8.738 billion".
        return any(_matches(claim, wanted, tolerance) for claim in claims)
    return all(_matches(claim, wanted, tolerance) for claim in claims)


def _has_explicit_kind(quantity: Quantity) -> bool:
    return quantity.year or bool(quantity.unit) or quantity.scale != 1.0


def _kinds(wanted: Quantity) -> list[Kind]:
    """Return the kinds of quantities that can match, starting with the kind of the gold answer."""
    if wanted.year:
        return [lambda given: given.year, _is_bare]
    if wanted.unit == "%":
        return [_is_percentage]
    if wanted.unit and not wanted.is_money:
        return [lambda given: given.unit == wanted.unit, _is_bare, _is_amount]
    if wanted.is_money or wanted.scale != 1.0:
        return [_is_amount, _is_bare, _is_counted]
    return [_is_bare, _is_amount, _is_percentage, _is_counted, lambda given: given.year]


def _is_bare(given: Quantity) -> bool:
    return not given.unit and given.scale == 1.0 and not given.year


def _is_amount(given: Quantity) -> bool:
    return given.is_money or (not given.unit and given.scale != 1.0)


def _is_percentage(given: Quantity) -> bool:
    return given.unit == "%"


def _is_counted(given: Quantity) -> bool:
    return given.unit.islower()


def _matches(claim: Claim, wanted: Claim, tolerance: float) -> bool:
    given, gold = claim.quantity, wanted.quantity
    if gold.year:
        return given.number == gold.number and not given.unit
    if given.year and (gold.unit or gold.scale != 1.0):
        return False
    if (gold.unit == "%" and given.unit != "%") or (gold.unit and given.unit not in ("", gold.unit)):
        return False
    if not _same_sign(claim, wanted):
        return False
    # A gold answer with decimals also matches a figure that rounds to it.
    rounding = 0.5 * 10.0**-gold.decimals if gold.decimals else 0.0
    if _close(given.value, gold.value, tolerance, rounding * gold.scale):
        return True
    return gold.scale == 1.0 and _close(given.number, gold.number, tolerance, rounding)


def _same_sign(claim: Claim, wanted: Claim) -> bool:
    """Whether the signs agree. "A decrease of 5" means -5, and also 5 as the size of the decrease."""
    given = -1 if claim.quantity.number < 0 else claim.direction
    if wanted.quantity.number < 0:
        return given == -1
    if wanted.direction == 0:
        return claim.quantity.number >= 0
    return given != -wanted.direction


def _close(given: float, gold: float, relative: float, absolute: float = 0.0) -> bool:
    return abs(abs(given) - abs(gold)) <= max(relative * abs(gold), absolute)
