"""Words and signs of scales and currencies, in several languages.

Most come from the Unicode CLDR by way of `babel`; what it lacks, such as "mil", is added by hand. A word with several
meanings has its English one ("billion" is 1e9), or none if no English text uses it ("Bio.").
"""

import re
from collections.abc import Iterable
from functools import cache

_LOCALES = ("en", "en_IN", "de", "fr", "es", "it", "nl", "pt", "sv", "da", "nb", "pl")
_ADDED_SCALES = {
    "thousand": 1e3, "k": 1e3, "mille": 1e3, "mil": 1e6, "mill": 1e6, "mn": 1e6, "mm": 1e6, "mln": 1e6, "mio": 1e6,
    "m": 1e6, "billion": 1e9, "bil": 1e9, "bn": 1e9, "bln": 1e9, "mrd": 1e9, "md": 1e9, "mds": 1e9, "b": 1e9,
    "trillion": 1e12, "tn": 1e12, "trn": 1e12, "t": 1e12, "lakh": 1e5, "lac": 1e5, "l": 1e5, "crore": 1e7, "cr": 1e7,
    "thousands": 1e3, "millions": 1e6, "billions": 1e9, "trillions": 1e12, "lakhs": 1e5, "crores": 1e7,
    "lakh crore": 1e12, "mil millones": 1e9, "mila miliardi": 1e12,
}  # fmt: skip
SCALE_LETTERS = ("k", "m", "b", "t", "l", "md", "mds")
"""Scales that are too short to be read after any number: "5 m" may be metres, "$5 m" is not."""

# Scales of other languages that are English words.
_NOT_SCALES = frozenset({"bill", "bio", "tri"})
# Codes of currencies that English prose has as words in capitals.
_NOT_CODES = frozenset({"ALL", "TOP", "CUP", "PEN", "SOS", "MAD", "COP", "GEL", "LAK", "XXX", "XTS"})
_ADDED_CODES = {"RMB": "CNY"}
_ADDED_NAMES = {
    "dollar": "USD", "euro": "EUR", "pound": "GBP", "sterling": "GBP", "yen": "JPY", "yuan": "CNY", "renminbi": "CNY",
    "rmb": "CNY", "rupee": "INR", "franc": "CHF", "won": "KRW", "real": "BRL", "reais": "BRL", "zloty": "PLN",
}  # fmt: skip
_DOLLARS = {"": "USD", "US": "USD", "A": "AUD", "AU": "AUD", "C": "CAD", "CA": "CAD", "HK": "HKD", "NZ": "NZD",
            "R": "BRL", "S": "SGD", "NT": "TWD", "MX": "MXN"}  # fmt: skip

MINOR_UNITS = {
    "cent": "AUD/CAD/EUR/HKD/NZD/SGD/USD/ZAR", "¢": "AUD/CAD/EUR/HKD/NZD/SGD/USD/ZAR", "eurocent": "EUR",
    "centime": "CHF/EUR", "rappen": "CHF", "centavo": "BRL/MXN/PHP", "pence": "GBP", "penny": "GBP", "p": "GBP",
    "paise": "INR", "paisa": "INR",
}  # fmt: skip
"""Currencies of which a word is a hundredth, with "/" between them, because the word alone does not say which."""


@cache
def scales() -> dict[str, float]:
    """Return the factor of each word for a scale, in lower case and without a point at its end."""
    from babel import Locale

    found: dict[str, set[float]] = {}
    for name in _LOCALES:
        for lengths in Locale.parse(name).compact_decimal_formats.values():
            for forms in lengths.values():
                for power, form in forms.items():
                    word = re.sub(r"[0'.\xa0]+", " ", form.pattern).strip().lower()
                    if len(word) > 2 and word.isalpha() and word not in _NOT_SCALES and power.strip("0") == "1":
                        found.setdefault(word, set()).add(float(power) / 10 ** (form.pattern.count("0") - 1))
    return {word: next(iter(factors)) for word, factors in found.items() if len(factors) == 1} | _ADDED_SCALES


@cache
def currency_codes() -> frozenset[str]:
    """Return the ISO 4217 codes that a text may have before or after an amount."""
    from babel.numbers import list_currencies

    return frozenset(list_currencies()) - _NOT_CODES | _ADDED_CODES.keys()


@cache
def currency_signs() -> dict[str, str]:
    """Return the currency of each sign that is no letter, such as "₹"."""
    from babel.numbers import get_currency_symbol, list_currencies

    signs = {get_currency_symbol(code, "en"): code for code in sorted(list_currencies("en"))}
    return {sign: code for sign, code in signs.items() if len(sign) == 1 and not sign.isalnum()} | {"$": "USD"}


@cache
def _currency_names() -> dict[str, str]:
    from babel.numbers import get_currency_name

    return {
        get_currency_name(code, count=count, locale="en").lower(): code
        for code in sorted(currency_codes() - _ADDED_CODES.keys())
        for count in (1, 2)
    }


def named_currency(words: str) -> str:
    """Return the code of a currency's code, sign or name, such as "Swiss francs", "US$" or "EUR"; "" if it is none."""
    name = words.strip().lower()
    if sign := next((char for char in name if char in currency_signs()), None):
        # "US$" and "$US", "JP¥" and "£GB".
        return signed_currency(name.replace(sign, "").strip().upper(), sign)
    if name.upper() in currency_codes():
        return _ADDED_CODES.get(name.upper(), name.upper())
    last = name.split()[-1] if name else ""
    full = _currency_names().get(name.replace("u.s.", "us"))
    return full or _ADDED_NAMES.get(last) or _ADDED_NAMES.get(last.removesuffix("s"), "")


def signed_currency(letters: str, sign: str) -> str:
    """Return the code of a sign and the letters before it: ("HK", "$") is HKD."""
    if sign == "$":
        return _DOLLARS.get(letters, letters)
    return "CNY" if letters == "CN" else currency_signs()[sign]


def minor_unit(words: str) -> str:
    """Return the currencies of which words are a hundredth: "US cents" are of USD, "cents" of one of several."""
    *before, word = words.lower().split()
    named = named_currency(" ".join(before)) if before else ""
    return named or ("USD" if before else MINOR_UNITS.get(word) or MINOR_UNITS[word.removesuffix("s")])


def same_unit(one: str, other: str) -> bool:
    """Return whether two units may be the same: USD and the cents of one of several currencies may."""
    return one == other or not set(one.split("/")).isdisjoint(other.split("/"))


def any_of(words: Iterable[str]) -> str:
    """Return a pattern for any of some words, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word)))
