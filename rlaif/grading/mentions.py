"""What the words around a quantity say about it: that it only supports another one, is denied, or is of a year.

Invariant: the words that are read for one quantity are bounded, so a text takes time linear in its length.
"""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import cached_property

from rlaif.grading.quantities import Quantity
from rlaif.grading.units import same_unit

_LOOK_BACK = 60
"""Number of characters to search before a quantity."""

_ADVERBS = frozenset({
    "about", "approximately", "around", "roughly", "nearly", "just", "only", "the", "a", "an", "its", "some",
})  # fmt: skip
_DENIALS = ("not", "isn't", "wasn't", "isn’t", "wasn’t", "never")
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
_SHARE_OF = re.compile(r"\s+of\s+(?:(?:the|its|our|their|a|total)\s+)*")
# What stands between a year and its figure: "2022: $398 million", "in 2022 sales were $398 million".
_YEAR_BEFORE = re.compile(r"\s*[:=–—-]\s*|\s*[:,]?\s*(?:it |revenue |they |sales )?(?:was|were|is|at)\s+")
# What stands between a figure and its year: "$398 million for the fiscal year 2022", "$398 million (2022)".
_YEAR_AFTER = re.compile(
    r"\s*\(?\s*(?:(?:in|for|during|of|at|as of)\s+)?(?:the\s+)?(?:(?:end|year|fiscal|year-end)\s+(?:of\s+)?)*"
)
# A comma joins either to the other: whichever of the two the sentence begins with.
_COMMA = re.compile(r"\s*,?\s*(?:(?:in|for|during)\s+)?")
_EARLIER = re.compile(
    r"\b(?:prior|previous|last|preceding)[\s-](?:year|period|quarter)(?:['’]s)?\W{0,3}(?:(?:it|they|sales)\s+)?"
    r"(?:(?:was|were|of)\s+)?\W{0,3}\Z",
    re.IGNORECASE,
)
_ASKED_BACK = re.compile(r"[\s)\]*]*\?")
_TERMS = ("sum of", "total of", "difference of", "average of", "ratio of")
_BASIS = re.compile(r"\b(?:basic|diluted)\b", re.IGNORECASE)
_BASIS_AFTER = re.compile(r"[\s(]*(?:per\s+)?(basic|diluted)\b", re.IGNORECASE)


def words_before(text: str, quantity: Quantity) -> list[str]:
    """Return the last two words before a quantity, lowercased, skipping adverbs such as "about" at the end."""
    words = text[max(0, quantity.start - _LOOK_BACK) : quantity.start].lower().split()
    while words and words[-1] in _ADVERBS:
        words.pop()
    return words[-2:]


class Mentions:
    """The quantities of a text among its words.

    Args:
        text: any text.
        quantities: of the text, in order.
        sentences: of each quantity, the index of its sentence.
    """

    def __init__(self, text: str, quantities: Sequence[Quantity], sentences: Sequence[int]) -> None:
        self._text = text
        self._quantities = quantities
        self._sentences = sentences

    def is_denied(self, index: int) -> bool:
        """Return whether a quantity is not meant, or only asked about: "not $5 million but", "$5 million?"."""
        start = self._quantities[index].start
        if _ASKED_BACK.match(self._text, self._quantities[index].end):
            return True
        *_, last = "", *words_before(self._text, self._quantities[index])
        # "Not only $5 million" denies nothing.
        only = self._text[max(0, start - _LOOK_BACK) : start].lower().split()[-1:] in (["only"], ["just"])
        return last in _DENIALS and not only

    def is_end(self, index: int) -> bool:
        """Return whether a quantity is the end of a change: "rose to X"."""
        return words_before(self._text, self._quantities[index])[-1:] == ["to"]

    @cached_property
    def is_aside(self) -> list[bool]:
        """Whether each quantity only supports another one."""
        text, quantities = self._text, self._quantities
        aside = [self._describes(quantity) for quantity in quantities]
        amount_before: Quantity | None = None
        for index, quantity in enumerate(quantities):
            *_, word, last = "", "", *words_before(text, quantity)
            against = self._is_measured_against(amount_before, quantity)
            aside[index] = aside[index] or last == "from" or against or self._is_whole_of(index)
            amount_before = amount_before if quantity.year else quantity
            if self._is_joined_to_next(index, f"{word} {last}"):
                aside[index] = aside[index + 1] = True
        return [one or other for one, other in zip(aside, self._lead_to_result(), strict=True)]

    def year_of(self, index: int) -> float | None:
        """Return the year that the words beside a figure give it: "(2022: $398 million)", "$398 million in 2022"."""
        if index in self._years_in_order:
            return self._years_in_order[index]
        text, quantities = self._text, self._quantities
        start, end = quantities[index].start, quantities[index].end
        before = quantities[index - 1] if index and quantities[index - 1].year else None
        after = quantities[index + 1] if index + 1 < len(quantities) and quantities[index + 1].year else None
        if after and text[after.end : after.end + 1] in (":", "="):
            after = None  # "(2022: $398 million)" gives its year to the figure that follows.
        if after and _YEAR_AFTER.fullmatch(text, end, after.start):
            return after.number
        if before and _YEAR_BEFORE.fullmatch(text, before.end, start):
            return before.number
        if self._begins_with_year(index):
            return before.number if before and _COMMA.fullmatch(text, before.end, start) else None
        return after.number if after and _COMMA.fullmatch(text, end, after.start) else None

    def basis_of(self, index: int) -> str:
        """Return "basic" or "diluted" if the words beside earnings per share say so, else ""."""
        text, quantity = self._text, self._quantities[index]
        if after := _BASIS_AFTER.match(text, quantity.end):
            return after[1].lower()
        start = self._quantities[index - 1].end if index else 0
        before = _BASIS.findall(text, max(start, quantity.start - _LOOK_BACK), quantity.start)
        return before[-1].lower() if before else ""

    @cached_property
    def _years_in_order(self) -> dict[int, float]:
        """The years of figures in sentences such as "$5 million and $6 million in 2022 and 2023, respectively"."""
        found: dict[int, float] = {}
        if "respectively" not in self._text:
            return found
        by_sentence: dict[int, list[int]] = {}
        for index, sentence in enumerate(self._sentences):
            by_sentence.setdefault(sentence, []).append(index)
        for indices in by_sentence.values():
            last = self._quantities[indices[-1]]
            years = [self._quantities[index].number for index in indices if self._quantities[index].year]
            figures = [index for index in indices if not self._quantities[index].year]
            if len(years) == len(figures) and "respectively" in self._text[last.end : last.end + _LOOK_BACK]:
                found.update(zip(figures, years, strict=True))
        return found

    def _begins_with_year(self, index: int) -> bool:
        """Whether the first quantity of a quantity's sentence is a year."""
        return self._quantities[bisect_left(self._sentences, self._sentences[index])].year

    def _describes(self, quantity: Quantity) -> bool:
        """Whether a number is part of an adjective, as the 3 in "a 3-year average"."""
        after = self._text[quantity.end : quantity.end + 2]
        return after[:1] == "-" and after[1:].isalpha()

    def _is_measured_against(self, before: Quantity | None, quantity: Quantity) -> bool:
        """Whether the words between the previous amount and a quantity make the quantity the base of a comparison."""
        start = max(before.end if before else 0, quantity.start - _LOOK_BACK)
        clause = self._text[start : quantity.start]
        cut = max(clause.rfind(mark) for mark in (", ", "; ", ": ", "! ", "? ", "\n"))
        stop = clause.rfind(". ")
        if stop > cut and not clause.endswith("vs", 0, stop):
            cut = stop
        return _AGAINST.search(clause, cut + 1) is not None or _EARLIER.search(clause) is not None

    def _is_whole_of(self, index: int) -> bool:
        """Whether a share of a quantity is what counts, as in "5% of $8 billion"."""
        if not index or self._quantities[index - 1].unit != "%":
            return False
        return (
            _SHARE_OF.fullmatch(self._text, self._quantities[index - 1].end, self._quantities[index].start) is not None
        )

    def _is_joined_to_next(self, index: int, lead_in: str) -> bool:
        """Whether a quantity and the next one are terms of a calculation, or the ends of what is "between" them."""
        if index + 1 == len(self._quantities):
            return False
        quantity, following = self._quantities[index], self._quantities[index + 1]
        if quantity.year or following.year or not 0 < following.start - quantity.end <= _LOOK_BACK:
            return False
        between = lead_in.endswith(("between", *_TERMS)) and self._text[quantity.end : following.start].strip() == "and"
        return between or _OPERATOR.fullmatch(self._text, quantity.end, following.start) is not None

    def _lead_to_result(self) -> list[bool]:
        """Whether each quantity comes before a result of its kind in the same sentence, as of a calculation."""
        quantities, sentences = self._quantities, self._sentences
        found = [False] * len(quantities)
        result: Quantity | None = None
        for index in range(len(quantities) - 2, -1, -1):
            quantity, following = quantities[index], quantities[index + 1]
            if sentences[index] != sentences[index + 1]:
                result = None
            elif result is None and _RESULT.search(self._text, quantity.end, following.start):
                result = following
            # "$5 million, which is 4% of sales" has no result of its kind.
            found[index] = result is not None and (
                not quantity.unit or not result.unit or same_unit(quantity.unit, result.unit)
            )
        return found
