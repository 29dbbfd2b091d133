"""What an answer names: one of the options that its question lists, or another name than the gold answer."""

import re

from rlaif.grading.dates import quarters_in_short
from rlaif.grading.text import content_stems, content_words, stem
from rlaif.grading.wording import is_negated, sentences_of

_OPTIONS = re.compile(
    r"\b(?:among|between|amongst)\s+(?P<options>[^?.;:]{3,90}?\s(?:and|or)\s[^?.;:,]{2,40})"
    r"(?=[,?.;]|$|\s(?:which|what|who|has|had|did|does|was)\b)",
    re.IGNORECASE,
)
_BETWEEN_OPTIONS = re.compile(r",\s*(?:and\s|or\s)?|\s(?:and|or)\s")
_LIST = re.compile(r",|;|/|&|\b(?:and|or|as well as)\b")
_DIGITS = re.compile(r"\b\w*\d\w*")
# Neighbouring words in capitals, as of "Harlow & Pike LLP".
_NAME = re.compile(r"[A-Z][\w.'’]*(?:(?:\s+(?:&\s+)?|-)[A-Z&][\w.'’]*)*")
_TITLES = frozenset(map(stem, ("mr", "mrs", "ms", "dr", "sir")))
# A longer answer is a sentence about a name, rather than a list of names.
_SHORT = 80
_FEW_WORDS = 3


def chosen_option(text: str, question: str) -> set[str]:
    """Return the stems of what a text chooses among the options that a question lists; empty if it lists none.

    "Among operations, investing, and financing activities, which ..." lists three. The option that a text names first
    is its choice.
    """
    listed = _OPTIONS.search(question)
    if not listed or any(map(str.isdigit, listed["options"])):
        return set()
    parts = [part for part in _BETWEEN_OPTIONS.split(listed["options"]) if part.strip()]
    options = [[stem(word) for word in re.findall(r"\w+", part.lower())] for part in parts]
    # "operations, investing and financing activities": the last word belongs to all.
    if len(options[-1]) > 1 and all(len(option) == 1 for option in options[:-1]):
        options[-1].pop()
    offered = set().union(*options)
    for sentence in sentences_of(text.replace(listed["options"], "")):
        words = [stem(word) for word in re.findall(r"\w+", sentence.lower())]
        first = next((word for word in words if word in offered), None)
        if first is not None and is_negated(sentence) is False:
            return set(next(option for option in options if first in option))
    return set()


def names_others(answer: str, gold: str, question: str) -> bool:
    """Return whether a short answer lists more than the gold answer, and something else: "A and B" for "A"."""
    if len(answer) > _SHORT or len(_LIST.findall(answer)) <= len(_LIST.findall(gold)):
        return False
    return bool(content_stems(answer) - content_stems(gold) - content_stems(question))


def names_another(answer: str, gold: str, question: str) -> bool:
    """Return whether an answer has the gold answer's name only within a longer one: "Siemens Energy" for "Siemens"."""
    named = content_stems(gold)
    if len(named) > _FEW_WORDS or not _NAME.fullmatch(gold.strip().removeprefix("The ").rstrip(".")):
        return False
    known = named | content_stems(question) | _TITLES
    names = [content_stems(match[0]) for match in _NAME.finditer(answer)]
    of_gold = [name for name in names if name & named]
    return bool(of_gold) and not any(name <= known for name in of_gold)


def lacks_digits(answer: str, gold: str, question: str) -> bool:
    """Return whether an answer lacks a number of a short gold answer, such as the quarter of "Q3 2022"."""
    if len(content_words(gold)) > _FEW_WORDS:
        return False
    given, wanted, asked = (
        {digits.lower() for digits in _DIGITS.findall(quarters_in_short(text))} for text in (answer, gold, question)
    )
    return not wanted - asked <= given
