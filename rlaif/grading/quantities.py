"""Parses the quantities in a text: value, scale, unit and sign, and whether each is only a year.

Invariant: parsing accepts any text, never raises, and takes time linear in its length. Numbers that are part of a name
(Note 16, ASC 606, 10-K, COVID-19, 3M) and list markers are not quantities. The parser supports English notation only:
commas group thousands and a point starts the decimals. It skips numbers written as words.
"""

import math
import re
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Quantity:
    """One quantity in a text.

    Attributes:
        number: the number as written, with its sign: -5.2 for "$(5.2) million".
        scale: factor from `number` to `value`: 1e6 for millions, 0.01 for a percentage, 0.0001 for a basis point.
        unit: "%", the ISO code of a currency ("$" is USD), a unit of time ("day"), "count" for people or things, or "".
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


_SIGNS = {"$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY"}
_WORDS = {"dollar": "USD", "euro": "EUR", "pound": "GBP", "yen": "JPY"}
_DOLLARS = {
    "": "USD", "US": "USD", "A": "AUD", "AU": "AUD", "C": "CAD", "CA": "CAD", "HK": "HKD", "NZ": "NZD", "R": "BRL",
    "S": "SGD",
}  # fmt: skip
_CODES = "USD|EUR|GBP|JPY|CHF|CNY|RMB|AUD|CAD|HKD|NZD|SGD|INR|KRW|SEK|NOK|DKK|BRL|MXN"
_SCALES = {
    "thousand": 1e3, "k": 1e3, "million": 1e6, "mln": 1e6, "mn": 1e6, "mm": 1e6, "m": 1e6,
    "billion": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12,
}  # fmt: skip

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_YEAR = r"(?:19|20)\d\d(?!\d)"
_DATE = rf"""
    \b{_MONTH}\s*+\d{{1,2}}(?:st|nd|rd|th)?(?![\d%]|[.,]\d)(?:,?\s*+{_YEAR})?
  | \b\d{{1,2}}(?:st|nd|rd|th)?\s++(?:of\s++)?{_MONTH}(?:,?\s*+{_YEAR})?
  | \b{_MONTH},?\s*+{_YEAR}
  | \b{_YEAR}-\d\d-\d\d\b
  | \b\d{{1,2}}/\d{{1,2}}/(?:\d{{4}}|\d\d)\b
  | \b(?:[QH][1-4]\s?+(?:of\s)?)?(?:FY|CY)\s?+['’]?(?:{_YEAR}|\d\d\b)(?:\s?[-–/]\s?\d\d(?:\d\d)?\b)?
  | \b[QH][1-4]\b(?:\s?+(?:{_YEAR}|['’]\d\d\b))?
  | \b(?:[Ff]iscal|[Cc]alendar)\s++(?:[Yy]ears?\s++)?{_YEAR}
  | (?<![\w$€£¥.,]){_YEAR}\s?[-–/]\s?(?:{_YEAR}|\d\d)\b(?![.,]\d|%)
"""
_LABEL = r"""
    \b(?:[Nn]otes?|[Ii]tem|[Ss]ection|[Ff]orm|[Pp]ages?|[Tt]able|[Ff]igure|[Tt]opic|[Ee]xhibit|[Rr]ule|[Ss]tep|[Ll]evel
       |ASC|ASU|IFRS|IAS|SFAS)\s++\(?\d[\w.-]*
  | (?:^|\n)[ \t]*+(?:\d{1,2}[.)]|\(\d{1,2}\))[ \t]++(?=[A-Z*"])
  | \b\d{1,2}-[A-Z]\b
  | \b(?:10|8|6|20)[KQF]\b
"""
_QUANTITY = rf"""
    (?P<prefix>(?:(?<![\w)])[-−–+](?=[$€£¥(\d.]) | \( | (?:\b[A-Z]{{1,3}})?[$€£¥]\s? | \b(?:{_CODES})\s?){{0,4}}+)
    (?<![\w.]) (?<!\d,) (?<![A-Za-z]-) (?!000\b)
    (?P<number>\d{{1,3}}+(?:[,\u00a0\u202f]\d{{3}})++(?!\d)(?:\.\d++)?+ | \d++(?:\.\d++)?+ | \.\d++) (?![.,]\d)
    (?P<close>\))?+
    (?:\s?(?P<percent>%|(?i:per\s?cent(?:age\spoints?)?|pct|ppts?|pp)\b)
      |\s?(?P<basis>(?i:basis\spoints?|bps?)\b)
      |[\s-]?(?P<scale>(?i:(?:thousand|million|billion|trillion)s?|mln|mn|mm|bn|tn)\b)
      |(?P<letter>[kKmMbB](?![\w'’-]))
      |[xX](?!\w))?+
    (?P<close_all>\))?+
    (?:\s?(?:\((?=[^()]*\)))?[Ii]n\s(?:(?:{_CODES}|US\$|\$)\s?)?(?P<stated>thousand|million|billion)s?\b\)?)?+
    (?:\s?(?:of\s)?(?P<after>(?i:dollars?|euros?|pounds?|yen)\b|(?:{_CODES})\b))?+
    (?:\s(?P<time>(?i:day|week|month|quarter|year|hour))(?P<times>s)?\b)?+
    (?![A-Za-z])
"""
# The lookahead is an optimization: every alternative starts with one of these characters.
_TOKEN = re.compile(
    rf"(?<![A-Za-z])(?=[\d.$€£¥(+−–A-Zcefilnprst\n-])(?:(?P<date>{_DATE})|(?P<label>{_LABEL})|{_QUANTITY})", re.VERBOSE
)
_BARE_YEAR = re.compile(_YEAR)
_SHORT_YEAR = re.compile(r"(\d\d)$")
_COUNTED = re.compile(r"\s(?:people|persons|employees|workers|staff|customers|stores|shares|units|locations|members)\b")
# After these, a bracketed amount is a negative value rather than an aside: "was ($5.2 million)".
_BEFORE_VALUE = re.compile(r"(?:^|[|:=\t]|\b(?:was|is|were|are|of|at|to|by|from|and|or))\s*[~≈]?\s*\Z", re.MULTILINE)
_RANGE = re.compile(r"\s*(?:[-–—]|to|and|or)\s*")


def parse_quantities(text: str) -> list[Quantity]:
    """Return the quantities of a text in order, including years and dates.

    Brackets make a number negative in accounting notation: "(1,234)", "$(5.2) million", and also "($5.2 million)" or
    "(3.7%)" where the text calls for a value. In "grew by $14.6 million (3.7%)" the percentage is positive. The first
    number of a range takes the scale and unit of the second: "$5-6 million", "10 to 15%". A date yields its year; a
    date without a year yields nothing.
    """
    if not any(map(str.isdigit, text)):
        return []
    found: list[Quantity] = []
    for match in _TOKEN.finditer(text):
        if match["date"] is not None:
            found.extend(_years(match))
        elif match["label"] is None and (quantity := _quantity(text, match)) is not None:
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


def _quantity(text: str, match: re.Match[str]) -> Quantity | None:
    prefix, digits = match["prefix"], match["number"]
    start, end = match.span()
    number = float(digits.replace(",", "").replace("\u00a0", "").replace("\u202f", ""))
    if not math.isfinite(number) or (match["letter"] and len(digits) == 1 and not prefix):
        return None  # Too large for a float, or a name: 3M.
    unit, scale = _unit_and_scale(match)
    bracketed = "(" in prefix and bool(match["close"] or match["close_all"])
    year_like = not unit and scale == 1.0 and prefix in ("", "(") and _BARE_YEAR.fullmatch(digits)
    if year_like and not match["times"] and not _COUNTED.match(text, end):
        return Quantity(number, 1.0, "", 0, True, start, end)
    negative = any(sign in prefix for sign in "-−–")
    if bracketed:
        due = _BEFORE_VALUE.search(text, max(0, start - 16), start) is not None
        if not due and match["close"] and len(digits) == 1:
            return None  # A footnote marker.
        negative = negative or due or match["close"] is not None
    if match["time"] and not unit:
        unit = match["time"].lower()
    elif not unit and (counted := _COUNTED.match(text, end)):
        unit, end = "count", counted.end()
    decimals = len(digits.partition(".")[2])
    return Quantity(-number if negative else number, scale, unit, decimals, False, start, end)


def _unit_and_scale(match: re.Match[str]) -> tuple[str, float]:
    if match["percent"]:
        return "%", 0.01
    if match["basis"]:
        return "%", 0.0001
    word = match["scale"] or match["letter"] or match["stated"]
    scale = _SCALES[word.lower().removesuffix("s")] if word else 1.0
    return _currency(match["prefix"], match["after"]), scale


def _currency(prefix: str, after: str | None) -> str:
    letters = "".join(char for char in prefix if char.isalpha())
    if "$" in prefix:
        return _DOLLARS.get(letters, letters)
    for sign, code in _SIGNS.items():
        if sign in prefix:
            return code
    if letters:
        return letters
    if after:
        return _WORDS.get(after.lower().removesuffix("s"), after.upper())
    return ""


def _with_range_unit(text: str, first: Quantity, second: Quantity) -> Quantity:
    bare = not first.year and not second.year and first.scale == 1.0 != second.scale
    alike = first.unit == second.unit or (not first.unit and second.unit == "%") or (first.is_money and not second.unit)
    near = abs(first.number) <= 10 * abs(second.number)
    if not (
        bare and alike and near and second.start - first.end <= 8 and _RANGE.fullmatch(text, first.end, second.start)
    ):
        return first
    # In "$5-6 million" only the first number has a currency sign, so the unit of the second may be empty.
    return replace(first, scale=second.scale, unit=first.unit or second.unit)
