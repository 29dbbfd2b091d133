"""What a sentence says beside its facts: that it negates them, or that the text does not know them.

Invariant: the patterns look at a bounded number of characters after each match, so reading is linear in the length.
"""

import re
from collections.abc import Set

from rlaif.grading.text import content_stems

_NEGATION = re.compile(
    r"\b(?:not|no|never|neither|nor|none|cannot|hardly|unlikely|false|untrue|incorrect)\b|n[’']t\b",
    re.IGNORECASE,
)
# With a negation before them, these affirm: "not unprofitable".
_LACK = re.compile(
    r"\b(?:without|lacks?|fails? to|failed to|un(?:healthy|able|profitable)"
    r"|except(?: for)?|excluding|other than|apart from|(?:all|every|any)\w*\b[^.\n]{0,40}\bbut)\b",
    re.IGNORECASE,
)
_NOT_A_NEGATION = re.compile(r"\bnot only\b|\bno (?:doubt|later|longer than)\b|\bnot (?:just|merely)\b", re.IGNORECASE)
_SENTENCE = re.compile(r"(?<=[.!?])[\"'”’)\]*]*\s+|\n+")

_CANNOT = (
    r"(?:does|do|did|is|are|was|were)(?: not|n[’']t)|cannot|can(?: not|[’']t)|unable to|insufficient|not possible"
    r"|impossible|not (?:enough|sufficient)|\bno\b[^.\n]{0,40}\b(?:information|mention|data|details?|evidence)"
)
_BE_TOLD = (
    r"provid|contain|includ|mention|specif|stat(?:e|ed)\b|availab|given|enough|information|data\b|details?\b|access"
    r"|answer|determin|calculat|comput|disclos|sufficient|find\b|found\b|say\b|tell\b|know\b"
)
_REFUSAL = re.compile(
    rf"(?:{_CANNOT})[^.\n]{{0,80}}?\b(?:{_BE_TOLD})"
    r"|\b(?:there (?:is|was)|has|have|had|contains?|gives?|provides?) no (?:information|mention|data|details?)\b"
    r"|\bas an ai\b|real-time|\b(?:sorry|unfortunately)\b|\bmy (?:last update|knowledge)|\bwould need\b"
    r"|\bnot (?:known|disclosed|available)\b"
    r"|\byou(?:[’']d| would| can| should| may| could| will)[^.\n]{0,30} (?:need|refer|find|check|consult|look)"
    r"|\bplease (?:refer|provide|check|consult)|\bunknown\b|\bn/a\b",
    re.IGNORECASE,
)
# A text this short denies what it was asked about without naming it: "There are none."
_FEW_CHARACTERS = 40
_NAMES_TOPIC = 0.4


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text, and its lines, without empty ones."""
    return [sentence for sentence in _SENTENCE.split(text) if sentence.strip()]


def refusals(text: str) -> int:
    """Return how many phrases of a text say that it does not answer: "is not provided", "please refer to"."""
    return sum(1 for _ in _REFUSAL.finditer(text))


def is_negated(sentence: str) -> bool | None:
    """Return whether a sentence is negated; None if it is negated twice, as "not unprofitable" is."""
    sentence = _NOT_A_NEGATION.sub("", sentence)
    denies, lacks = _NEGATION.search(sentence), _LACK.search(sentence)
    return None if denies and lacks else bool(denies or lacks)


def negates(text: str, words: Set[str]) -> bool:
    """Return whether the sentence of a text that has most of some stems is negated."""
    best = max(sentences_of(text), key=lambda sentence: len(words & content_stems(sentence)), default="")
    return is_negated(best) is not False


def denies(text: str, topic: Set[str]) -> bool:
    """Return whether a text denies what some stems name: "it made no acquisitions", "gross margin is not useful".

    A sentence that only says that something is not known does not count. A few words, such as "There are none", need
    not name the topic.
    """
    enough = max(2.0, _NAMES_TOPIC * len(topic))
    return any(
        is_negated(sentence) is not False
        and not refusals(sentence)
        and (len(text) < _FEW_CHARACTERS or len(topic & content_stems(sentence)) >= enough)
        for sentence in sentences_of(text)
    )
