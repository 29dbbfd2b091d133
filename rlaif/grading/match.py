"""Holds an answer against a reference without a model: exact for quantities, token F1 for words.

A reference is numeric if it is one quantity and words that only frame it ("approximately 7%", "$0.84 per share").
`rlaif.grading.claims` says which quantities an answer gives as its answer; the score is 1 if there is one and each
of them matches the reference, else 0. So an answer that offers two different amounts hedges, and scores 0 even if
one of them is right; "$412.6 million, compared with $398 million in 2022" offers one.

Two quantities match if they have the same value, within a relative tolerance or the reference's own rounding, the
same unit and no contrary sign. Only a percentage matches a percentage. A reference without a scale word comes from a
table whose head has it, so it is also matched as it is written: "11,588" by "$11,588 million". A year matches only
itself.
"""

import re
import string
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

from rlaif.grading.claims import Claim, Kind, deciding_claims, read_claim
from rlaif.grading.quantities import Quantity, parse_quantities

TOLERANCE = 0.005
"""Largest relative difference of two equal quantities: a figure rounded to three digits is still the same."""


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """How an answer stands to a reference.

    Attributes:
        score: in [0, 1]: 1 or 0 for a numeric reference, else `f1`.
        numeric: whether the reference is a quantity.
        exact: the two are the same text once case, articles and punctuation are gone.
        f1: harmonic mean of precision and recall over tokens, in [0, 1].
    """

    score: float
    numeric: bool
    exact: bool
    f1: float


def score_answer(answer: str, reference: str, tolerance: float = TOLERANCE) -> AnswerScore:
    """Score an answer against a reference; the module's first lines say how.

    Args:
        answer: any text; one without a word or a number scores 0.
        reference: the gold answer.
        tolerance: relative difference within which two quantities are equal.
    """
    given, gold = normalized_tokens(answer), _reference_tokens(reference)
    f1 = _f1(given, gold)
    exact = bool(given) and tuple(given) == gold
    wanted = numeric_reference(reference)
    if wanted is None:
        return AnswerScore(f1, False, exact, f1)
    return AnswerScore(float(_states(answer, wanted, tolerance)), True, exact, f1)


def contains_reference(answer: str, reference: str, tolerance: float = TOLERANCE) -> bool:
    """Whether the reference stands anywhere in the answer: softer than a score, and blind to hedging.

    Args:
        answer, reference, tolerance: as in `score_answer`. An empty reference is contained in nothing.
    """
    wanted = numeric_reference(reference)
    if wanted is not None:
        return any(_matches(read_claim(answer, quantity), wanted, tolerance) for quantity in parse_quantities(answer))
    gold = " ".join(_reference_tokens(reference))
    return bool(gold) and f" {gold} " in f" {' '.join(normalized_tokens(answer))} "


def token_f1(answer: str, reference: str) -> float:
    """Return the token F1 of Rajpurkar et al. (2016, arXiv:1606.05250), in [0, 1]; 0 if either has no token."""
    return _f1(normalized_tokens(answer), _reference_tokens(reference))


# SQuAD's own script strips ASCII punctuation; filings also have the typographic quotes and dashes.
_PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’“”–—−…")
_ARTICLES = frozenset(("a", "an", "the"))


def normalized_tokens(text: str) -> list[str]:
    """Return the tokens of a text as SQuAD compares them: lower case, no punctuation, no articles."""
    return [token for token in text.lower().translate(_PUNCTUATION).split() if token not in _ARTICLES]


@lru_cache(maxsize=4096)
def _reference_tokens(reference: str) -> tuple[str, ...]:
    return tuple(normalized_tokens(reference))


def _f1(given: list[str], gold: tuple[str, ...]) -> float:
    if not given or not gold:
        return 0.0
    same = sum((Counter(given) & Counter(gold)).values())
    return 2.0 * same / (len(given) + len(gold))


# What may stand beside a quantity without making the reference more than a quantity.
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
def numeric_reference(reference: str) -> Claim | None:
    """Return the quantity that a reference is, with its direction, or None if the reference is a text."""
    if len(reference) > _LONGEST_NUMERIC:
        return None
    quantities = parse_quantities(reference)
    if len(quantities) != 1:
        return None
    (quantity,) = quantities
    span, rest = reference[quantity.start : quantity.end], reference[: quantity.start] + " " + reference[quantity.end :]
    if quantity.year:
        rest = rest + " " + span.strip("0123456789")  # A month or a quarter makes it a date, which is a text.
    if any(map(str.isdigit, rest)) or not all(word in _FRAME for word in _WORD.findall(rest.lower())):
        return None
    return read_claim(reference, quantity)


def _states(answer: str, wanted: Claim, tolerance: float) -> bool:
    for claims in deciding_claims(answer, _kinds(wanted.quantity)):
        if claims and _agree(claims, wanted, tolerance):
            return True
        if claims and _tells_its_kind(wanted.quantity):
            return False
    return False


def _agree(claims: list[Claim], wanted: Claim, tolerance: float) -> bool:
    """Whether the claims of a sentence come to the reference, with no other amount beside it."""
    roles = {claim.role for claim in claims}
    if roles == {"change", "end"}:
        # "Rose by X to Y" states a change and a level, and does not hedge between them.
        return any(_agree([claim for claim in claims if claim.role == role], wanted, tolerance) for role in roles)
    first = claims[0].quantity.value
    if not wanted.quantity.year and all(_close(claim.quantity.value, first, tolerance) for claim in claims[1:]):
        # One amount, perhaps written twice: "$8,738 million, or $8.738 billion".
        return any(_matches(claim, wanted, tolerance) for claim in claims)
    return all(_matches(claim, wanted, tolerance) for claim in claims)


def _tells_its_kind(quantity: Quantity) -> bool:
    return quantity.year or bool(quantity.unit) or quantity.scale != 1.0


def _kinds(wanted: Quantity) -> list[Kind]:
    """Return which quantities can answer, those of the reference's own kind first."""
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
    # A figure that rounds to the reference, where that was rounded to decimals, is the same one.
    rounding = 0.5 * 10.0**-gold.decimals if gold.decimals else 0.0
    if _close(given.value, gold.value, tolerance, rounding * gold.scale):
        return True
    return gold.scale == 1.0 and _close(given.number, gold.number, tolerance, rounding)


def _same_sign(claim: Claim, wanted: Claim) -> bool:
    """Whether the signs agree: "a decrease of 5" is -5, and also answers how large the decrease was."""
    given = -1 if claim.quantity.number < 0 else claim.direction
    if wanted.quantity.number < 0:
        return given == -1
    if wanted.direction == 0:
        return claim.quantity.number >= 0
    return given != -wanted.direction


def _close(given: float, gold: float, relative: float, absolute: float = 0.0) -> bool:
    return abs(abs(given) - abs(gold)) <= max(relative * abs(gold), absolute)
