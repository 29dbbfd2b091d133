"""Finds the quantities that an answer claims, among all quantities that it mentions.

Claims: years, dates and numbers that only describe ("a 3-year average") are not claims. Neither are amounts that serve
as a comparison ("from X to", "compared with X", "than X") or terms of a calculation ("X - Y = Z"). An answer that
mentions only such quantities claims all of them.

Deciding sentence: the first sentence that claims a quantity of the requested kind decides. If the answer draws a
conclusion ("Therefore, ...", "Answer: ..."), the search starts there. If the answer calculates ("=") from that point
on, the last such sentence decides. Rambling after the answer therefore costs nothing, and a calculation counts by its
result.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.grading.quantities import Quantity, parse_quantities

Kind = Callable[[Quantity], bool]


@dataclass(frozen=True, slots=True)
class Claim:
    """A quantity that an answer claims.

    Attributes:
        quantity: the quantity as written.
        direction: -1 if the words around it describe a fall or a loss ("decreased by"), 1 for a rise, else 0.
        role: `change` ("rose by X"), `end` of a change ("rose to X"), or `plain`.
    """

    quantity: Quantity
    direction: int
    role: Literal["change", "end", "plain"]


def deciding_claims(answer: str, kinds: Sequence[Kind]) -> list[list[Claim]]:
    """Return the claims of the deciding sentence for each kind, in text order.

    Args:
        answer: any text.
        kinds: predicates, each true for the quantities of one kind.

    Returns:
        One list for each kind; it is empty if the answer has no quantity of that kind.
    """
    quantities = parse_quantities(answer)
    if not quantities:
        return [[] for _ in kinds]
    ends = [match.end() for match in _SENTENCE_END.finditer(answer)]
    sentences = [bisect_right(ends, quantity.start) for quantity in quantities]
    aside = _asides(answer, quantities, sentences)
    found = []
    for of_kind in kinds:
        chosen = [index for index, quantity in enumerate(quantities) if of_kind(quantity)]
        # An answer that has only asides still claims something: "compared with $5 million" gives one amount.
        chosen = [index for index in chosen if not aside[index]] or chosen
        deciding = _deciding_sentence(answer, ends, [sentences[index] for index in chosen]) if chosen else 0
        found.append([read_claim(answer, quantities[index]) for index in chosen if sentences[index] == deciding])
    return found


def read_claim(text: str, quantity: Quantity) -> Claim:
    """Return the claim that a quantity and the words around it make."""
    *_, word, last = "", "", *_lead_in(text, quantity)
    moved = _MOVE.fullmatch(word if last in ("by", "of") else last) or _MOVE_AFTER.match(text, quantity.end)
    if moved:
        return Claim(quantity, -1 if moved["fall"] else 1, "change")
    return Claim(quantity, 0, "change" if last == "by" else "end" if last == "to" else "plain")


_LOOK_BACK = 60
"""Number of characters to search before a quantity; it bounds the work for one quantity."""

_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]*]*(?=\s)|\n")
_CONCLUSION = re.compile(
    r"[^\w\n]*(?:therefore|thus|hence|so|consequently|in conclusion|round(?:ed|ing)"
    r"|(?:the |my )?(?:final )?answer(?: is|:))(?!\w)",
    re.IGNORECASE,
)
_ADVERBS = frozenset({
    "about", "approximately", "around", "roughly", "nearly", "just", "only", "the", "a", "an", "its", "some",
})  # fmt: skip
_AGAINST = re.compile(
    r"\b(?:compared|versus|vs|against|relative to|as opposed to|rather than|instead of)\b"
    r"|(?<!\bmore )(?<!\bless )(?<!\bfewer )(?<!\bgreater )\bthan\b",
    re.IGNORECASE,
)
_OPERATOR = re.compile(
    r"\s*[)\]]?\s*(?:[-−–+*/×÷]|minus|plus|divided by|times|multiplied by|x)\s*[(\[]?\s*", re.IGNORECASE
)
_RESULT = re.compile(
    r"=|≈|\b(?:equals?|gives?|result(?:s|ing)? in|therefore|thus|hence)\b|,\s(?:so|which (?:is|means))\b", re.IGNORECASE
)
_MOVES = (
    r"(?:(?P<fall>(?:decreas|declin|drop|reduc|lower|shrank|shrink)\w*|fell|falls?|fallen|down|loss(?:es)?|contracted)"
    r"|(?:increas|climb|expand|gain)\w*|ris(?:e|es|en|ing)|rose|gr[eo]w(?:s|n|th|ing)?|up|higher)"
)
_MOVE = re.compile(_MOVES, re.IGNORECASE)
_MOVE_AFTER = re.compile(rf"\s+{_MOVES}\b", re.IGNORECASE)


def _deciding_sentence(answer: str, ends: list[int], claiming: list[int]) -> int:
    """Return the index of the deciding sentence, given the sorted indices of sentences that claim something."""
    if claiming[0] == claiming[-1]:
        return claiming[0]
    first = claiming[0]
    for index in range(claiming[-1], -1, -1):
        if _CONCLUSION.match(answer, ends[index - 1] if index else 0):
            first = claiming[bisect_left(claiming, index)]
            break
    last_sign = max(answer.rfind("="), answer.rfind("≈"))
    calculates = last_sign >= 0 and bisect_right(ends, last_sign) >= first
    return claiming[-1] if calculates else first


def _asides(answer: str, quantities: list[Quantity], sentences: list[int]) -> list[bool]:
    """Return for each quantity whether it only supports another one."""
    aside = [_describes(answer, quantity) for quantity in quantities]
    amount_before: Quantity | None = None
    for index, quantity in enumerate(quantities):
        *_, last = "", *_lead_in(answer, quantity)
        aside[index] = aside[index] or last == "from" or _is_measured_against(answer, amount_before, quantity)
        amount_before = amount_before if quantity.year else quantity
        following = quantities[index + 1] if index + 1 < len(quantities) else quantity
        if quantity.year or following.year or not 0 < following.start - quantity.end <= _LOOK_BACK:
            continue
        between = last == "between" and answer[quantity.end : following.start].strip() == "and"
        if between or _OPERATOR.fullmatch(answer, quantity.end, following.start):
            aside[index] = aside[index + 1] = True
    leads_to_result = False
    for index in range(len(quantities) - 2, -1, -1):
        if sentences[index] != sentences[index + 1]:
            leads_to_result = False
        elif not leads_to_result and _RESULT.search(answer, quantities[index].end, quantities[index + 1].start):
            leads_to_result = True
        aside[index] = aside[index] or leads_to_result
    return aside


def _lead_in(text: str, quantity: Quantity) -> list[str]:
    """Return the last two words before a quantity, lowercased, skipping adverbs such as "about" at the end."""
    words = text[max(0, quantity.start - _LOOK_BACK) : quantity.start].lower().split()
    while words and words[-1] in _ADVERBS:
        words.pop()
    return words[-2:]


def _is_measured_against(answer: str, before: Quantity | None, quantity: Quantity) -> bool:
    """Whether the words between the previous amount and a quantity make the quantity the base of a comparison."""
    start = max(before.end if before else 0, quantity.start - _LOOK_BACK)
    clause = answer[start : quantity.start]
    cut = max(clause.rfind(mark) for mark in (", ", "; ", ": ", "! ", "? ", "\n"))
    stop = clause.rfind(". ")
    if stop > cut and not clause.endswith("vs", 0, stop):
        cut = stop
    return _AGAINST.search(clause, cut + 1) is not None


def _describes(answer: str, quantity: Quantity) -> bool:
    """Whether a number is part of an adjective, as the 3 in "a 3-year average"."""
    return answer[quantity.end : quantity.end + 1] == "-" and answer[quantity.end + 1 : quantity.end + 2].isalpha()
