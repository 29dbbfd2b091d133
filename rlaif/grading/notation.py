"""How quantities are written: the pattern of a number with its signs, currency, scale and unit, and its value.

Numbers are read in the notations of English, German, French, Swiss and Indian texts. Of a comma and a point the later
one starts the decimals. Alone, either groups thousands if exactly three digits follow each, except one point, which
starts decimals as in English.
"""

import re
from functools import cache

from rlaif.grading.dates import DATE
from rlaif.grading.units import SCALE_LETTERS, any_of, currency_codes, currency_signs, scales

# Numbers that are part of a name or mark an item of a list.
_LABEL = r"""
    \b(?:[Nn]otes?|[Ii]tem|[Ss]ection|[Ff]orm|[Pp]ages?|[Tt]able|[Ff]igure|[Tt]opic|[Ee]xhibit|[Rr]ule|[Ss]tep|[Ll]evel
       |ASC|ASU|IFRS|IAS|SFAS)\s++\(?\d[\w.-]*
  | (?:^|\n)[ \t]*+(?:\d{1,2}[.)]|\(\d{1,2}\))[ \t]++(?=[A-Z*"])
  | \b\d{1,2}-[A-Z]\b
  | \b(?:10|8|6|20)[KQF]\b
"""
# The beginnings in small letters: of a label, of a fiscal year, and of a sign in words.
_FIRST_WORDS = (
    "notes?|item|section|form|pages?|table|figure|topic|exhibit|rule|step|level|fiscal|calendar|minus|negative"
)
# An ordinary, a no-break, a figure, a thin and a narrow no-break space.
_SPACE = "[ \u00a0\u2007\u2009\u202f]"
# Each line: thousands grouped by comma, by apostrophe, as in India, by space, by point with a decimal comma, by several
# points. Then without groups: with a decimal point or an exponent, with a decimal comma, with nothing before the point.
_NUMBER = rf"""
    \d{{1,3}}+(?:,\d{{3}})++(?!\d)(?:\.\d++)?+
  | \d{{1,3}}+(?:['’]\d{{3}})++(?!\d)(?:[.,]\d++)?+
  | \d{{1,2}}+(?:,\d\d(?=,))++,\d{{3}}(?!\d)(?:\.\d++)?+
  | [1-9]\d{{0,2}}+(?:{_SPACE}\d{{3}})++(?!\d)(?:[.,]\d++)?+
  | [1-9]\d{{0,2}}+(?:\.\d{{3}})++(?:,\d++)
  | [1-9]\d{{0,2}}+(?:\.\d{{3}}){{2,}}+(?!\d)
  | \d++(?:\.\d++)?+(?:[eE][+-]?\d{{1,3}}(?!\w))?+(?!,\d)
  | \d++,(?:\d{{1,2}}|\d{{4,}})(?!\d) | 0,\d++
  | \.\d++
"""
_DECIMAL_COMMA = re.compile(r"0,\d+|\d+,(?:\d{1,2}|\d{4,})")
_NOT_DIGITS = re.compile(rf"{_SPACE}|['’]")


@cache
def quantity_pattern() -> re.Pattern[str]:
    """Return the pattern of a date (group `date`), a label (group `label`), or a quantity (the other groups)."""
    # Every alternative starts with one of these characters or words; looking for them first saves time.
    first = rf"(?<![A-Za-z])(?=[\d.¢{_signs()}(+−–A-Z\n-]|(?i:{_FIRST_WORDS}))"
    return re.compile(rf"{first}(?:(?P<date>{DATE})|(?P<label>{_LABEL})|{_quantity()})", re.VERBOSE)


def number_of(digits: str) -> tuple[float, int]:
    """Return the value of a number in any of the notations, and its count of decimals."""
    plain = _NOT_DIGITS.sub("", digits)
    comma, point = plain.rfind(","), plain.rfind(".")
    if comma > point >= 0 or (comma >= 0 > point and _DECIMAL_COMMA.fullmatch(plain)):
        plain = plain.replace(".", "").replace(",", ".")
    elif plain.count(".") > 1:
        plain = plain.replace(".", "")
    plain = plain.replace(",", "")
    return float(plain), 0 if "e" in plain.lower() else len(plain.partition(".")[2])


def _signs() -> str:
    return "".join(currency_signs())


def _quantity() -> str:
    signs, codes = _signs(), any_of(currency_codes())
    return rf"""
    (?P<prefix>(?:
        (?<![\w)])[-−–+]\s?(?=[{signs}(\d.A-Z]) | \( | \b(?i:minus|negative)\s
      | (?P<code>\b(?:{codes})|\$US(?=\s?\d))\s? | (?P<sign>(?:\b[A-Z]{{1,3}})?[{signs}])\s? | (?P<cents>¢)\s?
    ){{0,4}}+)
    (?:(?<=(?:{codes}))|(?<=\$US)|(?<![\w.])) (?<!\d,) (?<![A-Za-z]-) (?!000\b)
    (?P<number>{_NUMBER}) (?![.,]\d)
    (?P<close>\))?+
    (?:{_unit()})?+
    (?P<close_all>\))?+
    (?:\s?(?P<aside>\()?[Ii]n\s(?:(?:{codes}|US\$|\$)\s?)?(?P<stated>thousand|million|billion)s?\b(?(aside)\)))?+
    (?:\s?(?:of\s|d['’])?(?P<after>
        (?:[A-Z][\w.]+\s)?(?i:dollars?|euros?|pounds?(?:\ssterling)?|yen|yuan|renminbi|rupees?|francs?)\b
      | (?:{codes})\b | [A-Z]{{0,3}}[{signs}](?:[A-Z]{{2}}\b)?(?!\s?[\d(])))?+
    (?:\s(?P<time>(?i:day|week|month|quarter|year|hour))(?P<times>s)?\b)?+
    (?![A-Za-z])
    """


def _unit() -> str:
    """Return the pattern of what may follow a number: a percentage, a minor unit, a scale, or a power of ten."""
    words = any_of(word for word in scales() if word not in SCALE_LETTERS)
    codes = any_of(currency_codes())
    letter = "(?:[kKmMbB]|M[dD]s?|md)"
    # A letter is a scale before a sign ("5 M€"), and after a decimal comma or a no-break space, as in French ("5,2 M").
    before_sign = rf"\s?(?={letter}\s?(?:[{_signs()}](?!\s?\d)|(?:{codes})\b))"
    before_letter = rf"(?:{before_sign} | (?:(?<=,\d)|(?<=,\d\d))[ \u00a0\u202f] | [\u00a0\u202f])"
    return rf"""
        [\s-]?(?P<percent>%|(?i:per\s?cent(?:age\spoints?)?|pct|ppts?|pp|prozent|pour\scent|por\sciento)\b)
      | \s?(?P<basis>(?i:basis\spoints?|bps?)\b)
      | \s?(?P<minor>¢|(?i:(?:(?:euro|us|u\.s\.)[\s-]?)?cents?|eurocents?|pence|penny|pais[ea]|centimes?|rappen
          |centavos?)\b)
      | (?P<pence>p)\b
      | [\s-]?(?P<scale>(?i:{words})\b\.?)
      | (?P<letter>(?(sign)\s?|(?(code)\s?))(?:[kKmMbBtT]|(?(sign)L|(?!)))(?![\w'’-]))
      | {before_letter}(?P<letter_after>{letter})(?![\w'’-])
      | \s?[x×*·]\s?10(?:\^(?P<power>\d{{1,2}})|(?P<raised>[⁰¹²³⁴-⁹]{{1,2}}))(?!\w)
      | (?P<times_sign>\s?[xX](?!\w)|\stimes\b(?!\s*[\d$(]))
    """
