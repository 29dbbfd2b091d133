"""Numbers that are written as English words, turned into digits: "twenty-five percent" becomes "25 percent".

`text2num` converts; this module finds what to convert. Converting a whole text would join numbers of different phrases
and change figures that are written in digits. Fractions become percentages, because a gold answer of "25%" is what they
answer; fractions of a scale or of a percent become decimals.
"""

import re
from functools import cache

_UNITS = (
    "zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen"
    "|eighteen|nineteen|twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
)
_NUMBER = rf"(?:(?:(?:an?\s+)?(?:hundred|thousand)|{_UNITS})(?:[\s-]+(?:and\s+)?(?:{_UNITS}|hundred|thousand))*|an?\b)"
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "eighth": 8, "tenth": 10,
}  # fmt: skip
_PART = r"hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|eighth|tenth)s?"
_COUNT = r"an?|one|two|three|four|five|seven"
_SCALE = r"(?:million|billion|trillion|lakh|crore)s?"
_PERCENT = r"(?:per\s?cent|percentage\s+point)"
# In "one fourth quarter" and "a third of the year" a fraction is an ordinal or a span of time.
_OF_TIME = r"(?!\s+(?:quarter|year|of\s+(?:the\s+)?(?:year|fiscal)|ended|ending|results))"
_AND = r"[\s-]+and[\s-]+"
# "One" is a figure where a unit follows, or where it is all that is said.
_UNIT_AFTER_ONE = rf"\s+(?:{_SCALE}|{_PERCENT}|dollar|euro|pound|cent|penny|pence)s?\b"
_SAID_ALONE = r"(?:^\W*|\b(?:only|just|exactly|is|was|are|were|has|have|had|with)\s+)"


@cache
def _number_words() -> re.Pattern[str]:
    return re.compile(
        rf"""{_SAID_ALONE}(?P<one>one)(?!\s+(?:of|another|or|and|hundred|thousand|{_SCALE}|{_PART})\b|-)\b
        | \b(?:
          (?P<long>{_NUMBER}\s+(?:million|billion)(?:\s+(?:and\s+)?{_NUMBER}(?:\s+million)?)+)
          | (?P<whole>{_NUMBER}){_AND}(?P<over>(?:{_COUNT})[\s-]+)?(?P<part>{_PART})
          | (?:(?P<share>{_COUNT})[\s-]+)?(?P<share_part>{_PART})\s+(?:of\s+)?(?:an?|one)\s+(?={_SCALE}|{_PERCENT})
          | (?P<half>half){_OF_TIME}
          | (?P<count>{_COUNT})[\s-]+(?P<fraction>{_PART}){_OF_TIME}
          | (?P<dozens>{_NUMBER})\s+dozen
          | (?P<none>^\W*(?:none|nil|nothing))(?=\W*$)
          | (?P<number>{_NUMBER})(?:\s+point(?P<decimals>(?:\s+(?:{_UNITS}))+))?
        )\b""",
        re.IGNORECASE | re.VERBOSE,
    )


def with_digits(text: str) -> str:
    """Return a text with its English number words as digits, and fractions such as "a quarter" as percentages."""
    return _number_words().sub(_digits, text)


def _digits(match: re.Match[str]) -> str:
    digits = _in_digits(match)
    # Words that are no number, such as "five and six", stay.
    return match[0] if "nan" in digits else digits


def _in_digits(match: re.Match[str]) -> str:
    if match["one"]:
        return f"{match[0][: -len('one')]}1"
    if match["whole"]:
        parts = _value(match["over"] or "one") / _denominator(match["part"])
        return _written(_value(match["whole"]) + parts)
    if match["share_part"]:
        return _written(_value(match["share"] or "one") / _denominator(match["share_part"])) + " "
    if match["half"]:
        return "50%"
    if match["fraction"]:
        return f"{100 * _value(match['count']) / _denominator(match['fraction']):.4g}%"
    if match["dozens"]:
        return _written(12 * _value(match["dozens"]))
    if match["none"]:
        return "0"
    return _number_in_digits(match)


def _number_in_digits(match: re.Match[str]) -> str:
    words = match["long"] or match["number"]
    alone = words.lower() in ("a", "an", "one")
    if alone and not re.match(_UNIT_AFTER_ONE, match.string[match.end() : match.end() + 40], re.IGNORECASE):
        return match[0]
    decimals = "".join(_written(_value(word)) for word in (match["decimals"] or "").split())
    return _written(_value(words)) + (f".{decimals}" if decimals else "")


def _written(value: float) -> str:
    return f"{value:.10g}" if value % 1 else f"{value:.0f}"


def _denominator(part: str) -> int:
    return _PARTS["half" if part.lower() == "halves" else part.lower().removesuffix("s")]


def _value(words: str) -> float:
    """Return the value of number words; NaN if they are none, as "five six" are not."""
    from text_to_num import text2num

    words = re.sub(r"^an?\b", "one", words.strip().lower().replace("-", " "))
    words = f"one {words}" if words.startswith(("hundred", "thousand")) else words
    try:
        return float(text2num(words, "en"))
    except ValueError:
        return float("nan")
