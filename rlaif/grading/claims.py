"""Finds the quantities that an answer claims, among all quantities that it mentions.

Claims: years, dates and numbers that only describe ("a 3-year average") are not claims. Neither are amounts that serve
as a comparison ("from X to", "compared with X", "than X") or terms of a calculation ("X - Y = Z"). An answer that
mentions only such quantities claims all of them. What an answer denies ("not X but Y") is never a claim, and a figure
of another year than the one that is asked for is none either.

Deciding sentence: the first sentence that claims a quantity of the requested kind decides. If the answer draws a
conclusion ("Therefore, ...", "Answer: ..."), the search starts there. If the answer calculates ("=") from that point
on, the last such sentence decides. Rambling after the answer therefore costs nothing, and a calculation counts by its
result.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.grading.mentions import Mentions, words_before
from rlaif.grading.quantities import Quantity, parse_quantities

Kind = Callable[[Quantity], bool]


@dataclass(frozen=True, slots=True)
class Claim:
    """A quantity that an answer claims.

    Attributes:
        quantity: the quantity as written.
        direction: -1 if the words around it describe a fall or a loss ("decreased by"), 1 for a rise or a profit, else
            0; of a gold answer, also what its question asks for.
        role: `change` ("rose by X"), `end` of a change ("rose to X"), or `plain`, which a loss or a profit is as well.
        as_written: of a gold answer: its scale was taken from the question, so a number without a scale has it too.
    """

    quantity: Quantity
    direction: int
    role: Literal["change", "end", "plain"]
    as_written: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a question says about the figure that it asks for.

    Attributes:
        year: the one year that it names, else None.
        basis: "basic" or "diluted", of earnings per share; else "".
        change: whether it asks for a change, so that "rose to X" is no answer.
    """

    year: float | None = None
    basis: str = ""
    change: bool = False


def deciding_claims(answer: str, kinds: Sequence[Kind], asked: Asked = Asked()) -> Iterator[list[Claim]]:
    """Yield the claims of the deciding sentence for each kind, in text order.

    Args:
        answer: any text.
        kinds: predicates, each true for the quantities of one kind.
        asked: figures of another year or basis do not count.

    Yields:
        One list for each kind; it is empty if the answer claims no quantity of that kind.
    """
    quantities = parse_quantities(answer)
    if not quantities:
        yield from ([] for _ in kinds)
        return
    ends = [match.end() for match in _SENTENCE_END.finditer(answer)]
    sentences = [bisect_right(ends, quantity.start) for quantity in quantities]
    mentions = Mentions(answer, quantities, sentences)
    for of_kind in kinds:
        chosen = _chosen(mentions, [index for index, quantity in enumerate(quantities) if of_kind(quantity)], asked)
        deciding = _deciding_sentence(answer, ends, [sentences[index] for index in chosen]) if chosen else 0
        yield [read_claim(answer, quantities[index]) for index in chosen if sentences[index] == deciding]


def read_claim(text: str, quantity: Quantity) -> Claim:
    """Return the claim that a quantity and the words around it make."""
    *_, word, last = "", "", *words_before(text, quantity)
    moved = _MOVE.fullmatch(word if last in ("by", "of") else last) or _MOVE_AFTER.match(text, quantity.end)
    if moved:
        return Claim(quantity, -1 if moved["fall"] else 1, "change")
    before = _LEVEL_BEFORE.search(text, max(0, quantity.start - _LEVEL_LOOK_BACK), quantity.start)
    if level := before or _LEVEL_AFTER.match(text, quantity.end):
        return Claim(quantity, -1 if level["loss"] else 1, "plain")
    return Claim(quantity, 0, "change" if last == "by" else "end" if last == "to" else "plain")


_SENTENCE_END = re.compile(r"[.!?][\"'”’)\]*]*(?=\s)|\n")
_CONCLUSION = re.compile(
    r"[^\w\n]*(?:therefore|thus|hence|so|consequently|in conclusion|round(?:ed|ing)"
    r"|(?:the |my )?(?:final )?answer(?: is|:))(?!\w)",
    re.IGNORECASE,
)
_MOVES = (
    r"(?:(?P<fall>(?:decreas|declin|drop|reduc|lower|shrank|shrink)\w*|fell|falls?|fallen|down|less|contract(?:ed|ion)"
    r"|slip(?:ped|s)?|dip(?:ped|s)?|slid|sank|plunged|tumbled|outflows?)"
    r"|(?:increas|climb|expand|gain|jump|surg)\w*|ris(?:e|es|en|ing)|rose|gr[eo]w(?:s|n|th|ing)?|up|higher|more)"
)
_MOVE = re.compile(_MOVES, re.IGNORECASE)
_MOVE_AFTER = re.compile(rf"\s+{_MOVES}\b", re.IGNORECASE)
_LEVEL_LOOK_BACK = 80
# "A net loss of", "net income for 2022 was", "loss:", "lost", "negative operating cash flow of".
_LEVEL_BEFORE = re.compile(
    r"\b(?:(?P<loss>loss(?:es)?|deficit|shortfall|negative(?=(?:\s+[\w-]+){1,4}\s+(?:of|was|is)\b)|lost(?=\s+\W*\Z))"
    r"|profits?|income(?!\s+(?:statement|tax))|earnings|surplus)"
    r"(?:\s*:|(?:\s+(?!(?:of|on|with|and)\b)[\w'’-]+){0,5}\s+(?:of|was|is|were|total(?:l?ed|s)|reached|at))?"
    r"(?:\s+(?:about|approximately|around|roughly|nearly|just|only|a|an|the))*\s*\Z",
    re.IGNORECASE,
)  # fmt: skip
_LEVEL_AFTER = re.compile(
    r"\s+(?:(?:net|operating|pre-?tax|quarterly|annual)\s+)*(?:(?P<loss>loss(?:es)?|deficit|shortfall)|profits?|surplus)\b",
    re.IGNORECASE,
)


def _chosen(mentions: Mentions, of_kind: list[int], asked: Asked) -> list[int]:
    """Return the indices of the quantities of one kind that are claimed."""
    chosen = [index for index in of_kind if not mentions.is_denied(index)]
    if asked.basis:
        chosen = [index for index in chosen if mentions.basis_of(index) in ("", asked.basis)]
    if asked.year is not None:
        chosen = [index for index in chosen if mentions.year_of(index) in (None, asked.year)]
    if asked.change:
        chosen = [index for index in chosen if not mentions.is_end(index)] or chosen
    # An answer that has only asides still claims something: "compared with $5 million" gives one amount, and "from X in
    # 2022 to Y in 2023" gives X where 2022 is asked for.
    return [index for index in chosen if not mentions.is_aside[index]] or chosen


def _deciding_sentence(answer: str, ends: list[int], claiming: list[int]) -> int:
    """Return the index of the deciding sentence, given the sorted indices of sentences that claim something."""
    first = claiming[0]
    if first == claiming[-1]:
        return first
    for index in range(claiming[-1], -1, -1):
        if _CONCLUSION.match(answer, ends[index - 1] if index else 0):
            first = claiming[bisect_left(claiming, index)]
            break
    last_sign = max(answer.rfind("="), answer.rfind("≈"))
    calculates = last_sign >= 0 and bisect_right(ends, last_sign) >= first
    return claiming[-1] if calculates else first
