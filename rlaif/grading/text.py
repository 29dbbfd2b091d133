"""Words of answers: tokens as SQuAD compares them, and stems of the words that carry what a text says."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache, lru_cache
from typing import Any

# SQuAD's own script strips ASCII punctuation; filings also use typographic quotes and dashes.
_PUNCTUATION = str.maketrans("", "", string.punctuation + "‘’“”–—−…")
_ARTICLES = frozenset(("a", "an", "the"))
# Words that carry no content of their own. Yes, no and not are read by `rlaif.grading.stance`; "segment" and the like
# only say what kind of thing a name is.
_FUNCTION_WORDS = """
    a an the of in on at to for from by with and or as than then so such into over under between during through per
    about against out off again further because while if but nor not no yes
    is are was were be been being has have had do does did done can will should would could may might must
    it its this that these those their they them he she his her we our you your i me my s
    which who whom what when where how there here
    also any all each other more most some only own same too very just both few
    segment segments division divisions category
"""
# Legal forms of some country that are more often words of another kind, such as "EU" and "VAT".
_NOT_LEGAL_FORMS = "ad ee et eu mb nl pc pp private pt sal ss unlimited vat"
_WORD = re.compile(r"[^\W\d_](?:[^\W\d_]|[&'’.](?=[^\W\d_]))*")
# What models put around an answer: "<answer>7</answer>", "\\boxed{7}".
_MARKUP = re.compile(
    r"</?(?:final[ _])?(?:answer|final|output|response|solution)>|\\boxed\{(?P<boxed>[^{}\n]*)\}", re.IGNORECASE
)
_POSSESSIVE_OR_POINT = re.compile(r"['’]s$|\.")


def without_markup(text: str) -> str:
    """Return a text without the tags and the box that models put around an answer."""
    return _MARKUP.sub(lambda match: match["boxed"] or "", text).strip()


def normalized_tokens(text: str) -> list[str]:
    """Return the tokens of a text as SQuAD compares them: lowercase, without punctuation and articles."""
    return [token for token in text.lower().translate(_PUNCTUATION).split() if token not in _ARTICLES]


@lru_cache(maxsize=4096)
def gold_tokens(gold_answer: str) -> tuple[str, ...]:
    """Return the normalized tokens of a gold answer, which many answers are compared with."""
    return tuple(normalized_tokens(gold_answer))


def token_f1(given: Sequence[str], gold: Sequence[str]) -> float:
    """Return the token F1 of Rajpurkar et al. (2016, arXiv:1606.05250) of two texts' normalized tokens, in [0, 1].

    It is 0 if either text has no tokens.
    """
    return token_f(given, gold, 1.0)


def token_f(given: Sequence[str], gold: Sequence[str], beta: float) -> float:
    """Return the F-beta of an answer's normalized tokens against the gold answer's, in [0, 1].

    It is (1 + beta^2) P R / (beta^2 P + R) with token precision P and token recall R, and 0 if either has no tokens.
    """
    if not given or not gold:
        return 0.0
    left, common = Counter(gold), 0
    for token in given:
        if left[token] > 0:
            left[token] -= 1
            common += 1
    squared = beta * beta
    return (1.0 + squared) * common / (len(given) + squared * len(gold))


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """Return the Porter2 stem of an English word: "operating" and "operations" are "oper"."""
    stemmed: str = _stemmer().stemWord(word)
    return stemmed


def stems(words: str) -> frozenset[str]:
    """Return the stems of words that are separated by spaces."""
    return frozenset(map(stem, words.split()))


# The texts of one question, and the sentences of its candidates, are asked for several times each.
@lru_cache(maxsize=1024)
def content_stems(text: str) -> frozenset[str]:
    """Return the stems of a text's words, without accents, function words, numbers and legal forms of companies."""
    return frozenset(map(stem, content_words(text)))


def content_words(text: str) -> list[str]:
    """Return the words whose stems are `content_stems`, in order and lower case."""
    plain = text if text.isascii() else _without_accents(text)
    skipped = _skipped_words()
    words = (word.lower() for word in _WORD.findall(plain))
    words = (word if word.isalpha() else _POSSESSIVE_OR_POINT.sub("", word) for word in words)
    return [word for word in words if word not in skipped]


def _without_accents(text: str) -> str:
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


@cache
def _skipped_words() -> frozenset[str]:
    """Return the function words, and those for legal forms of companies, such as "inc" and "gmbh", from `cleanco`."""
    from cleanco.termdata import terms_by_type

    terms = {term.replace(".", "").strip() for terms in terms_by_type.values() for term in terms}
    legal_forms = {term for term in terms if term.isalpha() and len(term) > 1}.difference(_NOT_LEGAL_FORMS.split())
    return frozenset(_FUNCTION_WORDS.split()) | legal_forms | {"company", "co"}


@cache
def _stemmer() -> Any:
    import snowballstemmer

    return snowballstemmer.stemmer("english")
