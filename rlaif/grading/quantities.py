"""Parses the quantities in a text: value, scale, unit and sign, and whether each is only a year.

Invariant: parsing accepts any text, never raises, and takes time linear in its length. Numbers that are part of a name
(Note 16, ASC 606, 10-K, COVID-19, 3M) and list markers are not quantities. Numbers in words are those of
`rlaif.grading.number_words`.
"""

import math
import re
import unicodedata
from dataclasses import dataclass, replace

from rlaif.grading.dates import YEAR
from rlaif.grading.notation import number_of, quantity_pattern
from rlaif.grading.units import minor_unit, named_currency, same_unit, scales, signed_currency


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity in a text.

    Attributes:
        number: the number as written, with its sign: -5.2 for "$(5.2) million".
        scale: factor from `number` to `value`: 1e6 for millions, 0.01 for a percentage, 0.0001 for a basis point.
        unit: "%"; the ISO code of a currency ("$" is USD), or several with "/" between them for cents that may be of
            each; a unit of time ("day"); "count" for people or things, "times" for a multiple; or "".
        decimals: number of digits after the point, as written.
        year: whether it is a calendar year, alone or within a date, rather than an amount.
        start, end: character offsets in the text, including units.
    """

    number: float
    scale: float
    unit: str
    decimals: int
    year: bool
    start: int
    end: int

    @property
    def value(self) -> float:
        """The number times its scale: 412600000.0 for 412.6 million, 0.12 for 12%."""
        return self.number * self.scale

    @property
    def is_money(self) -> bool:
        """Whether the unit is a currency."""
        return self.unit.isupper()

    @property
    def is_bare(self) -> bool:
        """Whether it is a number and no more: "412.6", and also "2.7 times"."""
        return self.unit in ("", "times") and self.scale == 1.0 and not self.year


_BARE_YEAR = re.compile(YEAR)
_SHORT_YEAR = re.compile(r"(\d\d)$")
_COUNTED = re.compile(r"\s(?:people|persons|employees|workers|staff|customers|stores|shares|units|locations|members)\b")
# After these, a bracketed amount is a negative value rather than an aside: "was ($5.2 million)".
_BEFORE_VALUE = re.compile(r"(?:^|[|:=\t]|\b(?:was|is|were|are|of|at|to|by|from|and|or))\s*[~≈]?\s*\Z", re.MULTILINE)
_RANGE = re.compile(r"\s*(?:[-–—]|to|and|or)\s*")
_DASHED_LINE = re.compile(r"^[-−–]", re.MULTILINE)
_MINUS_IN_WORDS = re.compile(r"minus|negative", re.IGNORECASE)


def parse_quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text in order, including years and dates.

    Brackets make a number negative in accounting notation: "(1,234)", "$(5.2) million", and also "($5.2 million)" or
    "(3.7%)" where the text calls for a value. In "grew by $14.6 million (3.7%)" the percentage is positive. The first
    number of a range takes the scale and unit of the second: "$5-6 million", "10 to 15%". "1 dollar and 20 cents" is
    one quantity. A date yields its year; a date without a year yields nothing.
    """
    if not any(map(str.isdigit, text)):
        return []
    found: list[Quantity] = []
    # One line that begins with a dash has a negative number; several are a list.
    listed = len(_DASHED_LINE.findall(text)) > 1
    for match in quantity_pattern().finditer(text):
        if match["date"] is not None:
            found.extend(_years(match))
        elif match["label"] is None and (quantity := _quantity(text, match, listed=listed)) is not None:
            if found and (whole := _with_cents(text, found[-1], quantity)) is not None:
                found[-1] = whole
            else:
                found.append(quantity)
    for index in range(len(found) - 2, -1, -1):
        found[index] = _with_range_unit(text, found[index], found[index + 1])
    return found


def _years(match: re.Match[str]) -> list[Quantity]:
    start, end = match.span()
    years = [float(year) for year in _BARE_YEAR.findall(match[0])]
    if not years and ("Y" in match[0] or match[0][0] in "QH") and len(match[0]) > 3:
        short = _SHORT_YEAR.search(match[0])
        years = [2000.0 + float(short[1])] if short else []
    return [Quantity(year, 1.0, "", 0, True, start, end) for year in years]


def _quantity(text: str, match: re.Match[str], *, listed: bool) -> Quantity | None:
    prefix, digits = match["prefix"], match["number"]
    start, end = match.span()
    number, decimals = number_of(digits)
    if not math.isfinite(number) or (match["letter"] and len(digits) == 1 and not prefix and not match["after"]):
        return None  # Too large for a float, or a name: 3M.
    unit, scale = _unit_and_scale(match)
    year_like = not unit and scale == 1.0 and prefix in ("", "(") and _BARE_YEAR.fullmatch(digits)
    if year_like and not match["times"] and not _COUNTED.match(text, end):
        return Quantity(number, 1.0, "", 0, True, start, end)
    bracketed = "(" in prefix and bool(match["close"] or match["close_all"])
    due = bracketed and _BEFORE_VALUE.search(text, max(0, start - 16), start) is not None
    if bracketed and not due and match["close"] and len(digits) == 1:
        return None  # A footnote marker.
    if match["time"] and not unit:
        unit = match["time"].lower()
    elif not unit and (counted := _COUNTED.match(text, end)):
        unit, end = "count", counted.end()
    begins_item = listed and (start == 0 or text[start - 1] == "\n")
    dashed = any(sign in prefix for sign in "-−–") and not begins_item
    negative = dashed or due or bool(bracketed and match["close"]) or _MINUS_IN_WORDS.search(prefix)
    return Quantity(-number if negative else number, scale, unit, decimals, False, start, end)


def _unit_and_scale(match: re.Match[str]) -> tuple[str, float]:
    if match["percent"]:
        return "%", 0.01
    if match["basis"]:
        return "%", 0.0001
    currency = _currency(match)
    if minor := match["minor"] or match["pence"] or match["cents"]:
        return currency or minor_unit(minor), 0.01
    if match["times_sign"]:
        return currency or "times", 1.0
    if power := match["power"] or match["raised"]:
        return currency, 10.0 ** int("".join(str(unicodedata.digit(digit)) for digit in power))
    word = match["scale"] or match["letter"] or match["letter_after"] or match["stated"]
    return currency, scales()[word.strip().lower().rstrip(".")] if word else 1.0


def _currency(match: re.Match[str]) -> str:
    if sign := match["sign"]:
        return signed_currency(sign[:-1], sign[-1])
    return named_currency(match["code"] or match["after"] or "")


def _with_cents(text: str, whole: Quantity, cents: Quantity) -> Quantity | None:
    """Return an amount with the cents that follow it, as of "1 dollar and 20 cents"; None if it is another amount."""
    joined = whole.is_money and whole.scale == 1.0 and not whole.decimals and text[whole.end : cents.start] == " and "
    if not joined or cents.scale != 0.01 or not 0 <= cents.number < 100 or not same_unit(whole.unit, cents.unit):
        return None
    number = whole.number + math.copysign(cents.value, whole.number)
    return replace(whole, number=number, decimals=2, end=cents.end)


def _with_range_unit(text: str, first: Quantity, second: Quantity) -> Quantity:
    bare = not first.year and not second.year and first.scale == 1.0 != second.scale
    alike = first.unit in ("", second.unit) or (first.is_money and not second.unit)
    near = abs(first.number) <= 10 * abs(second.number)
    if not (
        bare and alike and near and second.start - first.end <= 8 and _RANGE.fullmatch(text, first.end, second.start)
    ):
        return first
    # In "$5-6 million" only the first number has a currency sign, so the unit of the second may be empty.
    return replace(first, scale=second.scale, unit=first.unit or second.unit)
