"""What in a table is a figure, a year, a unit or a mark of a footnote, wherever the table was read."""

import re

# Currency and sign before the digits; a percent sign, a bracket or a footnote's mark after them.
FIGURE = re.compile(
    r"[(\s$€£¥₹+−–-]*(?:(?:US|HK|NT|[ACS])\$|USD|EUR|GBP|RMB|CNY|JPY|CHF|INR|Rs\.?|kr)?[\s(]*"
    r"\d(?:[\d.,\s]*\d)?\s*(?:%|x|bps|pts?)?[\s)]*(?:\(\w\)|\*|†)?",
    re.IGNORECASE,
)
YEAR = re.compile(r"\s*(?:FY\s*)?(?:19|20)\d\d\s*(?:\(\w\)|\*)?\s*", re.IGNORECASE)
# What a filing writes where a figure is nil, not available or not meaningful.
_NIL = re.compile(r"[$€£¥(\s]*[—–−-]+[\s)%]*|n/?[am]\.?|n\.[am]\.|nil|\*{1,2}", re.IGNORECASE)
_UNIT = re.compile(
    r"\b(?:(?:in|of)\s+(?:\w+\s+){0,3}?(?:thousands|millions|billions|percent|dollars)"
    r"|(?:dollars|amounts|shares|euros|figures)\b[^.;]{0,60}\bin\s+(?:\w+\s+){0,2}?"
    r"(?:[$€£¥%’'](?!\w)|(?:thousand|million|billion|US|U\.S\.|euro|dollar|RMB|pound|000)s?\b)|(?:thousands|millions|billions)\s+of\b"
    r"|except\s+(?:for\s+)?(?:per[\s-]+share|share|percentages|number|ratios))"
    r"|^\W*(?:(?:US|C|A|HK)?[$€£¥]\s*(?:m|mm|bn|k|000s?|millions?|thousands?|billions?)|[$€£¥]?\s*’?'?000s?)\W*$",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_BRACKETED = re.compile(r"\([^()]*(?:\([^()]*\)[^()]*)*\)")
NOTE = re.compile(r"(?:\((?:\d{1,2}|[a-z])\)|\*{1,3}|†|‡|[¹²³⁴⁵]|\d\)|Notes?:|Source:)(?=\s*\S)", re.IGNORECASE)
"""The beginning of a footnote."""
PAGE_NUMBER = re.compile(r"\d{1,3}|[A-Z]{1,2}-\d{1,3}")
"""A page number in a table of contents: `7`, `F-12`."""
LONGEST_UNIT = 110
"""Characters that a line of a unit has at most; a longer one is prose."""


def is_figure(text: str) -> bool:
    """Return whether a cell is a figure, such as `$ 1,204.5`, `(3.1)%`; a year alone is a head."""
    return FIGURE.fullmatch(text) is not None and YEAR.fullmatch(text) is None


def is_nil(text: str) -> bool:
    """Return whether a cell says that there is no figure: a dash, `N/A`, `NM`."""
    return _NIL.fullmatch(text.strip()) is not None


def is_unit(text: str) -> bool:
    """Return whether a line is the unit of a table's figures: `(in millions, except per share data)`."""
    return len(text) <= LONGEST_UNIT and _UNIT.search(text) is not None and not text.rstrip().endswith(".")


def is_unit_alone(text: str) -> bool:
    """Return whether a line is a unit and nothing else: a name before `(in millions)` is a title.

    >>> is_unit_alone("(in millions)"), is_unit_alone("Net sales by segment (in millions)")
    (True, False)
    """
    rest = text.replace(unit_within(text), "")
    return is_unit(text) and (rest == text or len(_WORD.findall(rest)) < 2)


def unit_within(text: str) -> str:
    """Return the bracketed unit in a line of prose or of a title, or "".

    >>> unit_within("Net sales by segment (in millions):")
    '(in millions)'
    """
    return next((found for found in _BRACKETED.findall(text) if is_unit(found)), "")
