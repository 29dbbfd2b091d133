"""Dates in texts, with the parts that are written: a day, a month, a quarter or a year.

Invariant: a date that can be read in two ways ("03/04/2022") has both readings and is never taken for one of them.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
YEAR = r"(?:19|20)\d\d(?!\d)"
"""Pattern of a calendar year."""

_DAY = r"\d{1,2}(?:st|nd|rd|th)?"
# In words: "March 31, 2022", "31st of March 2022", "31-Mar-2022", "March 2022".
_IN_WORDS = rf"""
    \b{_MONTH}\s*+{_DAY}(?![\d%]|[.,]\d)(?:,?\s*+{YEAR})?
  | \b{_DAY}(?:\s++(?:of\s++)?{_MONTH}|-{_MONTH})(?:(?:,?\s*+|-){YEAR})?
  | \b{_MONTH},?\s*+{YEAR}
"""
_IN_DIGITS = rf"""
    \b{YEAR}(?P<dash>[-/])\d\d(?P=dash)\d\d\b
  | \b\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d\d)\b
  | \b\d{{1,2}}\.\d{{1,2}}\.{YEAR}
"""
# "FY2022", "FY21/22", "fiscal year 2022", "2021-22".
_FISCAL_YEAR = rf"""
    \b(?:[QH][1-4]\s?+(?:of\s)?)?(?:FY|CY)\s?+['’]?(?:{YEAR}|\d\d\b)(?:\s?[-–/]\s?\d\d(?:\d\d)?\b)?
  | \b(?:[Ff]iscal|[Cc]alendar)\s++(?:[Yy]ears?\s++)?{YEAR}
  | (?<![\w$€£¥.,]){YEAR}\s?[-–/]\s?(?:{YEAR}|\d\d)\b(?![.,]\d|%)
"""
_QUARTER = rf"\b[QH][1-4]\b(?:\s?+(?:{YEAR}|['’]\d\d\b))?"
DATE = "|".join((_IN_WORDS, _IN_DIGITS, _FISCAL_YEAR, _QUARTER))
"""Verbose pattern of a date, or of a year or quarter that is named as one."""

_ORDINALS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "1st": 1, "2nd": 2, "3rd": 3, "4th": 4}
_QUARTER_IN_WORDS = re.compile(
    rf"\b(?P<ordinal>{'|'.join(_ORDINALS)})[\s-]+(?:fiscal\s+)?(?P<span>quarter|half)\b"
    r"(?:\s+(?:of\s+)?(?:the\s+)?(?:(?:fiscal|calendar)\s+)?(?:year\s+)?(?=(?:19|20)\d\d|FY))?",
    re.IGNORECASE,
)
_DATE = re.compile(rf"(?:{DATE})", re.VERBOSE)
_DAY_OR_MONTH = re.compile(r"\d{1,2}/\d{1,2}/\d+")
# A part that differs between the two was taken from the default, not from the text.
_DEFAULTS = (datetime(2001, 1, 1), datetime(2004, 2, 2))


@dataclass(frozen=True, slots=True)
class Date:
    """A day or a month of a calendar.

    Attributes:
        year, month, day: None for a part that is not written.
    """

    year: int | None
    month: int | None
    day: int | None

    def is_(self, gold: "Date") -> bool | None:
        """Return whether it is a gold date; None if it lacks a part of it and agrees in the others."""
        parts = [(self.year, gold.year), (self.month, gold.month), (self.day, gold.day)]
        wanted = [(own, part) for own, part in parts if part is not None]
        if any(own is not None and own != part for own, part in wanted):
            return False
        return None if any(own is None for own, _ in wanted) else True


def dates(text: str) -> list[frozenset[Date]]:
    """Return the dates of a text that name a month, in order, each with its readings."""
    return [readings for match in _DATE.finditer(text) if (readings := _readings(match[0]))]


def only_date(text: str) -> Date | None:
    """Return the date that a text is, or None if it says anything else or can be read in two ways."""
    match = _DATE.fullmatch(text.strip().rstrip("."))
    readings = _readings(match[0]) if match else frozenset()
    return next(iter(readings)) if len(readings) == 1 else None


def quarters_in_short(text: str) -> str:
    """Return a text with "third quarter of 2022" written as "Q3 2022"."""

    def short(match: re.Match[str]) -> str:
        name = match["span"][0].upper() + str(_ORDINALS[match["ordinal"].lower()])
        return name + " " * match[0][-1].isspace()

    return _QUARTER_IN_WORDS.sub(short, text)


@lru_cache(maxsize=4096)
def _readings(text: str) -> frozenset[Date]:
    """Return the dates that a text may mean; none if it names no month."""
    day_first = re.match(r"\d{1,2}\.", text) is not None
    orders = (True, False) if _DAY_OR_MONTH.match(text) else (day_first,)
    found = (_parsed(text, day_first=order) for order in orders)
    return frozenset(date for date in found if date is not None and date.month is not None)


def _parsed(text: str, *, day_first: bool) -> Date | None:
    from dateutil import parser

    try:
        one, other = (parser.parse(text, default=default, dayfirst=day_first) for default in _DEFAULTS)
    except (ValueError, OverflowError):
        return None
    return Date(
        one.year if one.year == other.year else None,
        one.month if one.month == other.month else None,
        one.day if one.day == other.day else None,
    )
