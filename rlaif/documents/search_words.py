"""The terms by which a text is found: words, numbers kept whole, and periods.

A number is one term in one form: `1,577`, `1'577` and `1577.0` are `1577`. A period is found by its parts: `FY2018`,
`FY18` and `fiscal 2018` hold `2018`, `2Q23` and `2023Q2` hold `q2` and `2023`. No language is assumed: text that is
written without spaces is cut into overlapping pairs of characters, as Lucene's CJKAnalyzer does, and accents do not
count.

Invariant: equal texts have equal terms on every machine, and no text raises.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b

from rlaif.documents.function_words import FUNCTION_WORDS

# Words with the signs within them: 1,577.5, 10-K, AT&T, Q2'23, year-over-year. Vowels of Indic scripts are no \\w.
_LETTER = "(?:[^\\W_]|[\u0900-\u0963\u0966-\u0dff\u0f71-\u0f84\u102b-\u109d\u17b4-\u17d3])"
_WORD = re.compile(rf"{_LETTER}+(?:[.,'&/-]{_LETTER}+)*")
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+(?:[.,'&/-][A-Za-z0-9]+)*")
_PART = re.compile(rf"{_LETTER}+")
_PIECE_ENDS = re.compile(r"['/,]")
_FORM = re.compile(r"\d{1,2}-[a-z]")
_GROUPED = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d{1,2}(?:,\d\d)+,\d{3}(?:\.\d+)?|\d{1,3}(?:'\d{3})+(?:[.,]\d+)?")
_GROUPED_BY_POINT = re.compile(r"\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|\d+,\d{1,2}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THIN_SPACE = re.compile(r"(?<=\d)[\u2009\u202f](?=\d{3}(?!\d))")
_PERIOD = re.compile(
    r"(?:fy|cy)'?(?P<fiscal>\d{4}|\d\d)(?:[qh-]?(?P<of_fiscal>[qh][1-4]))?"
    r"|(?P<first>\d)(?P<kind>[qh])-?'?(?:fy)?'?(?P<after>\d{4}|\d\d)"
    r"|(?P<part>[qh][1-4])[-/']?(?:fy)?'?(?P<year>\d{4}|\d\d)"
    r"|(?P<year_before>\d{4})[-/]?(?P<part_after>[qh][1-4])"
)
_ORDINALS = {"first": "1", "second": "2", "third": "3", "fourth": "4"}
_QUARTER = re.compile(r"\b(first|second|third|fourth)(?:\s+fiscal)?[\s-]+(quarter|half)\b", re.IGNORECASE)
_CAPITAL_WITHIN = re.compile(r"(?<=[a-z])(?=[A-Z][a-z])")
# Accents of Latin, Greek and Cyrillic letters, the vowel signs of Hebrew and Arabic, and Arabic's lengthening.
_ACCENT = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u0640\u064b-\u065f\u0670]")
# Scripts that put no space between words: Thai to Khmer, Hangul, kana and Han.
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
                       "\U00020000-\U0003ffff]+")  # fmt: skip
_LONGEST = 64
_JOINED = 3


def search_terms(text: str) -> list[str]:
    """Return the terms of a text, in order and with repetitions.

    >>> search_terms("Amazon's FY2018 net sales were $1,577.50 (10-K)")
    ['amazon', '2018', 'net', 'sale', 'were', '1577.5', '10k']
    """
    return [term for word in _words(text) for term in _terms(word)]


def query_terms(text: str) -> list[str]:
    """Return the terms to search for, each once: those of the text without function words, and neighbours as one.

    A name of a document often has no spaces: `BESTBUY_2023_10K` is found by `Best Buy`. A text of function words alone
    keeps them.

    >>> query_terms("What are the net sales of Best Buy?")
    ['net', 'sale', 'best', 'buy', 'netsale', 'bestbuy']
    """
    words = [(word, _folded(word) in FUNCTION_WORDS) for word in _words(text)]
    terms = [term for word, empty in words if not empty for term in _terms(word)]
    if not terms:
        return list(dict.fromkeys(search_terms(text)))
    wholes = [(parts[-1], empty) for word, empty in words if (parts := _terms(word))]
    joined = (
        "".join(whole for whole, _ in wholes[start : start + count])
        for count in range(2, _JOINED + 1)
        for start in range(len(wholes) - count + 1)
        # A function word may be within a name, as in `BANKOFAMERICA`.
        if not (wholes[start][1] or wholes[start + count - 1][1])
    )
    return list(dict.fromkeys([*terms, *joined]))


def term_ids(text: str) -> list[int]:
    """Return the ids of a text's terms, 64-bit hashes of them, so that no vocabulary has to be kept."""
    return [number for word in _words(text) for number in _ids(word)]


def term_id(term: str) -> int:
    """Return a term's id; of five million terms two share one with a probability below one in a million."""
    return int.from_bytes(blake2b(term.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _words(text: str) -> Iterator[str]:
    if not text.isascii():
        text = _ACCENT.sub("", _THIN_SPACE.sub("", text).replace("\u2019", "'").replace("\u2011", "-"))
        text = unicodedata.normalize("NFKC", text)
    for match in (_ASCII_WORD if text.isascii() else _WORD).finditer(text):
        yield match[0]
    for match in _QUARTER.finditer(text):
        yield f"{match[2][0]}{_ORDINALS[match[1].lower()]}"


@lru_cache(1 << 16)
def _ids(word: str) -> tuple[int, ...]:
    return tuple(map(term_id, _terms(word)))


@lru_cache(1 << 16)
def _terms(word: str) -> tuple[str, ...]:
    """Return the terms of a word; the last one is the whole."""
    split = _CAPITAL_WITHIN.sub("-", word) if not word.isupper() else word
    if split != word and _PART.fullmatch(word):
        parts = [part.casefold() for part in split.split("-")]
        return (*map(_stem, parts), _stem("".join(parts)))
    word = _folded(word)
    if (number := _number(word)) is not None:
        return (number,)
    if (period := _PERIOD.fullmatch(word)) is not None:
        return _period(period)
    if _UNSPACED.search(word):
        return tuple(_pairs(word))
    if len(pieces := [piece for piece in _PIECE_ENDS.split(word) if piece]) > 1:
        # A letter before or after an apostrophe is an article or an ending: l'année, Amazon's.
        return tuple(term for piece in pieces if len(piece) > 1 or piece.isdecimal() for term in _terms(piece))
    parts = _PART.findall(word)
    if len(parts) == 1:
        return (_stem(word),)
    whole = _stem("".join(parts))
    if all(len(part) == 1 for part in parts) or _FORM.fullmatch(word):
        return (whole,)
    terms = [term for part in parts for term in _terms(part)]
    return (*terms, whole) if len(parts) == 2 and "." not in word and not whole.isdecimal() else tuple(terms)


def _folded(word: str) -> str:
    word = word.casefold()
    if word.isascii():
        return word
    word = unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFKD", word)))
    return "".join(str(unicodedata.decimal(letter)) if letter.isdecimal() else letter for letter in word)


def _number(word: str) -> str | None:
    if _GROUPED.fullmatch(word):
        word = word.replace("'", "") if "'" in word else word.replace(",", "")
    elif _GROUPED_BY_POINT.fullmatch(word):
        word = word.replace(".", "")
    word = word.replace(",", ".")
    if not _NUMBER.fullmatch(word):
        return None
    whole, _, decimals = word.partition(".")
    decimals = decimals.rstrip("0")
    return f"{whole.lstrip('0') or '0'}{'.' if decimals else ''}{decimals}"[:_LONGEST]


def _period(found: re.Match[str]) -> tuple[str, ...]:
    """Return a period's part of a year, if it has one, and its year."""
    year = found["fiscal"] or found["after"] or found["year"] or found["year_before"]
    part = found["of_fiscal"] or found["part"] or found["part_after"]
    if found["first"]:
        part = f"{found['kind']}{found['first']}"
    year = year if len(year) == 4 else f"20{year}"
    return (part, year) if part else (year,)


def _pairs(word: str) -> Iterator[str]:
    """Yield the pairs of neighbouring characters of text without spaces, and the words between such text."""
    at = 0
    for match in _UNSPACED.finditer(word):
        yield from _between(word[at : match.start()])
        run = match[0]
        yield from (run[start : start + 2] for start in range(max(1, len(run) - 1)))
        at = match.end()
    yield from _between(word[at:])


def _between(text: str) -> Sequence[str]:
    return [term for part in _WORD.findall(text) for term in _terms(part)]


def _stem(word: str) -> str:
    """Return an English plural's singular (Harman 1991, "How effective is suffixing?", JASIS 42(1))."""
    if len(word) > 3 and word.endswith("s") and word.isascii():
        if word.endswith("ies") and not word.endswith(("eies", "aies")):
            word = f"{word[:-3]}y"
        elif not word.endswith(("us", "ss")):
            word = word[:-1]
    return word[:_LONGEST]
