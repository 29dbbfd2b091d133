"""Compares the figures that an answer claims with that of a gold answer.

What a figure is of ("of revenue", "per diluted share") must not differ where both texts say it, and neither must its
year where the question and the answer both name one.

A gold answer without a scale word takes the scale that its question asks for ("in USD millions"). If the question names
none, it often comes from a table that gives the scale in its header, so it also matches as written: "$11,588 million"
matches "11,588". A gold answer without a sign is the size of a fall if its question asks for a fall, and is positive
if its question asks for a rise.

An answer that claims two different amounts hedges and does not match, even if one of them is right. "$412.6 million,
compared with $398 million in 2022" claims only one.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache

from rlaif.grading.claims import Asked, Claim, deciding_claims, read_claim
from rlaif.grading.matching import close, has_explicit_kind, kinds_of, matches
from rlaif.grading.number_words import with_digits
from rlaif.grading.quantities import Quantity, parse_quantities
from rlaif.grading.text import content_words, stem, stems
from rlaif.grading.units import named_currency, scales

TOLERANCE = 0.005
"""Largest relative difference between equal quantities; a figure rounded to three digits still counts as equal."""

# A longer gold answer says more than a figure.
_LONGEST_NUMERIC = 80
# Words that may surround the quantity of a numeric gold answer.
_FRAME_WORDS = """
    about approximately approx around roughly nearly almost over under up to at least most circa per share annum each
    in of by fiscal year fy an a the increase increased decrease decreased decline declined higher lower rise growth
    gain loss net down more less basic diluted eps
    employees people persons stores shares customers units locations times members plants
"""
_FRAME = frozenset(_FRAME_WORDS.split())
_WORD = re.compile(r"[^\W\d_]+")
# What a figure is of: "5.2% of revenue", "$0.84 per diluted share".
_WHAT = (
    r"(?P<what>(?:(?!(?:and|or|of|in|for|from|by|to|at|on|as|with|through|throughout|during|over)\b)[^\W\d_]+\s?){1,4})"
)
_SHARE = r"(?:%|percent(?:age)?|share|proportion|fraction)"
_OF = re.compile(rf"\s*\(?(?:(?:(?:as\s+an?\s+{_SHARE}\s+)?of|per|an?)\s+|/\s*){_WHAT}", re.IGNORECASE)
_TIMES_WHAT = re.compile(rf"\s+{_WHAT}", re.IGNORECASE)
_ASKED_BASE = re.compile(rf"{_SHARE}\s+of\s+{_WHAT}", re.IGNORECASE)
_SAME_BASE = {"sale": "revenu", "turnov": "revenu", "stock": "share", "annum": "year"}
_NO_BASE = stems("net total annual its common outstanding ordinary fully full reported consolidated")
# With such a word a base is another one: "revenue growth" is not revenue.
_ITS_OWN_BASE = stems("growth cost expense margin tax")
# Bases that a question is known to ask for; others may be part of a longer name.
_COMMON_BASES = stems("revenue asset equity income earnings debt liability capital ebitda expense cost profit")
_ASKED_SCALE = re.compile(
    r"(?:\b(?:in|units? of)\s+|\()(?:(?P<code>[A-Z]{3}|US\$|\$|€|£)\s?)?"
    r"(?P<scale>thousand|million|billion|lakh|crore)s?\b"
    r"(?:\s+(?:of\s+)?(?P<name>(?:U\.?S\.?\s+)?(?:dollars|euros|pounds|yen)|[A-Z]{3}\b))?",
)
_ASKS_CHANGE = re.compile(r"\bby how much\b|\bhow much (?:did|has|have)\b.*\bby\b", re.IGNORECASE)
_ASKED_BASIS = re.compile(r"\b(basic|diluted)\b", re.IGNORECASE)
# "2000" is no year where an amount is asked for.
_ASKS_AMOUNT = re.compile(
    r"\bhow (?:many|much)\b|\b(?:amount|cost|fee|price|number|total|revenues?|sales"
    r"|in (?:USD )?(?:thousand|million|billion)s?)\b",
    re.IGNORECASE,
)
_ASKS_FALL = re.compile(
    r"\b(?:decreas|declin|drop|reduc|lower|fall|fell|loss|lost|deficit|shortfall|shr[aiu]nk|write|wrote|impair|charge"
    r"|outflow|negative)",
    re.IGNORECASE,
)
_ASKS_RISE = re.compile(r"\b(?:increas|grow|grew|ris[ei]|rose|gain|improv)", re.IGNORECASE)


@lru_cache(maxsize=4096)
def numeric_gold_answer(gold_answer: str) -> Claim | None:
    """Return the claim of a numeric gold answer, or None if the gold answer is text."""
    if not any(map(str.isdigit, gold_answer)):
        gold_answer = with_digits(gold_answer)
    if len(gold_answer) > _LONGEST_NUMERIC:
        return None
    quantities = parse_quantities(gold_answer)
    if len(quantities) != 1:
        return None
    (quantity,) = quantities
    span = gold_answer[quantity.start : quantity.end]
    base = _base_match(gold_answer, quantity)
    rest = gold_answer[: quantity.start] + " " + gold_answer[base.end() if base else quantity.end :]
    if quantity.year:
        rest = rest + " " + span.strip("0123456789")  # A month or a quarter makes it a date, which counts as text.
    if any(map(str.isdigit, rest)) or not all(word in _FRAME for word in _WORD.findall(rest.lower())):
        return None
    return read_claim(gold_answer, quantity)


def states(answer: str, wanted: Claim, question: str = "", tolerance: float = TOLERANCE, *, gold: str = "") -> bool:
    """Return whether an answer claims a figure and no other one.

    Args:
        answer: any text.
        wanted: the gold answer's claim.
        question: may state the scale and the sign of the gold answer, and the year that is asked for.
        tolerance: relative difference within which two quantities are equal.
        gold: the gold answer, which may say what its figure is of, such as "revenue".
    """
    wanted = _as_asked(wanted, question)
    asked = _asked(question, gold, change=wanted.role == "change")
    base = _base_of(gold, wanted.quantity) or _asked_base(question)
    kinds = kinds_of(wanted.quantity)
    for text in _readings(answer):
        for claims in deciding_claims(text, kinds, asked):
            if claims and _agree(claims, wanted, tolerance):
                return not any(_is_another_base(_base_of(text, claim.quantity), base) for claim in claims)
            if claims and has_explicit_kind(wanted.quantity):
                return False
    return False


def _readings(answer: str) -> Iterator[str]:
    """Yield an answer, and then, if it has number words, the answer with digits for them."""
    yield answer
    if (other := with_digits(answer)) != answer:
        yield other


def figure_share(answer: str, gold: str, question: str, tolerance: float) -> float | None:
    """Return which share of a gold text's figures an answer has; None if there is none that the question lacks."""
    asked = [quantity.value for quantity in parse_quantities(question)]
    wanted = [
        read_claim(gold, quantity)
        for quantity in parse_quantities(gold)
        if not quantity.year and not any(close(quantity.value, value, 1e-9) for value in asked)
    ]
    if not wanted:
        return None
    if len(wanted) == 1:
        return float(states(answer, wanted[0], question, tolerance, gold=gold))
    claims = [read_claim(answer, quantity) for quantity in parse_quantities(answer)]
    return sum(any(matches(claim, want, tolerance) for claim in claims) for want in wanted) / len(wanted)


@lru_cache(maxsize=4096)
def _as_asked(wanted: Claim, question: str) -> Claim:
    """Return a gold answer's claim with the sign, the scale and the currency that its question asks for."""
    quantity = wanted.quantity
    if quantity.year and _ASKS_AMOUNT.search(question):
        quantity = replace(quantity, year=False)
        wanted = replace(wanted, quantity=quantity)
    falls, rises = _ASKS_FALL.search(question), _ASKS_RISE.search(question)
    if not wanted.direction and bool(falls) is not bool(rises):
        wanted = replace(wanted, direction=-1 if falls else 1)
    asked = _ASKED_SCALE.search(question)
    if not asked or quantity.scale != 1.0 or quantity.year or (quantity.unit and not quantity.is_money):
        return wanted
    unit = quantity.unit or named_currency(asked["code"] or asked["name"] or "")
    scaled = replace(quantity, scale=scales()[asked["scale"].lower()], unit=unit)
    return replace(wanted, quantity=scaled, as_written=True)


@lru_cache(maxsize=4096)
def _asked(question: str, gold: str, *, change: bool) -> Asked:
    years = {quantity.number for quantity in parse_quantities(question) if quantity.year}
    bases = {word.lower() for word in _ASKED_BASIS.findall(gold) or _ASKED_BASIS.findall(question)}
    return Asked(
        years.pop() if len(years) == 1 else None,
        bases.pop() if len(bases) == 1 else "",
        change or bool(_ASKS_CHANGE.search(question)),
    )


def _agree(claims: list[Claim], wanted: Claim, tolerance: float) -> bool:
    """Whether the claims of a sentence match the gold answer without hedging."""
    roles = {claim.role for claim in claims}
    if roles == {"change", "end"}:
        # "Rose by X to Y" states a change and a level; it does not hedge.
        return any(_agree([claim for claim in claims if claim.role == role], wanted, tolerance) for role in roles)
    first = claims[0].quantity.value
    if not wanted.quantity.year and all(close(claim.quantity.value, first, tolerance) for claim in claims[1:]):
        # One amount, possibly written twice: "$8,738 million, or $8.738 billion".
        return any(matches(claim, wanted, tolerance) for claim in claims)
    return all(matches(claim, wanted, tolerance) for claim in claims)


def _base_of(text: str, quantity: Quantity) -> list[str]:
    """Return the stems of what a quantity in a text is of, such as "revenue"; empty if the text does not say it."""
    match = _base_match(text, quantity)
    return _base_stems(match["what"]) if match else []


def _base_match(text: str, quantity: Quantity) -> re.Match[str] | None:
    of = _OF.match(text, quantity.end)
    return of or (_TIMES_WHAT.match(text, quantity.end) if quantity.unit == "times" else None)


def _base_stems(what: str) -> list[str]:
    base = map(stem, content_words(what))
    return [_SAME_BASE.get(word, word) for word in base if word not in _NO_BASE]


@lru_cache(maxsize=4096)
def _asked_base(question: str) -> list[str]:
    """Return the stems of the share that a question asks for, if it is of something common: "as a % of revenue"."""
    match = _ASKED_BASE.search(question)
    base = _base_stems(match["what"]) if match else []
    return base if _COMMON_BASES.intersection(base) else []


def _is_another_base(given: list[str], gold: list[str]) -> bool:
    """Whether two bases differ: "revenue" and "assets" do, "square foot" and "square metre" do by their last words."""
    if not given or not gold:
        return False
    if set(given).isdisjoint(gold) or not _ITS_OWN_BASE.isdisjoint(set(given) ^ set(gold)):
        return True
    return given[-1] not in gold and gold[-1] not in given
