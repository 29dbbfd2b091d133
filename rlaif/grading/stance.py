"""Whether an answer says yes or no to its question.

Yes or no is read from the first word ("No, ..."), from a conclusion ("the answer is yes"), or from the sentence that
repeats the question: "the company is not liquid" answers "is its liquidity healthy?" with no. What is none of these is
left open.
"""

import re

from rlaif.grading.text import content_stems, stems
from rlaif.grading.wording import is_negated, refusals, sentences_of

_AUXILIARY = "is|are|was|were|do|does|did|has|have|had|can|could|will|would|should"
_CERTAINLY = "indeed|absolutely|certainly|definitely|surely|clearly|affirmative"
_LEAD = re.compile(
    r"[^\w\n]*(?:(?:unfortunately|sadly|sorry|well)\W{1,3})?(?:(?:the |my )?(?:final |short )?answer(?: is)?\W{0,4})?"
    r"(?:(?P<no>no|nope|false|incorrect)|(?P<yes>yes|yep|true|correct))"
    # After it the text ends, a mark follows, or another clause begins.
    r"(?=\W*$|\s*[,.;:!*()–—-]|\s+(?:it|they|there|this|that|the|he|she|we|because|as|since|its|[A-Z])\b|\n)",
    re.IGNORECASE,
)
_YES_AGAIN = re.compile(r"\byes\b", re.IGNORECASE)
_NO_AGAIN = re.compile(r"\bno\b\s*(?:[.,;:!]|$)", re.IGNORECASE)
# "It does not", "Certainly not": what repeats nothing of the question but its verb.
_ELLIPSIS = re.compile(
    rf"\W*(?:(?:{_CERTAINLY})\W+)*(?:(?:it|they|he|she|that|this|there|we|the \w+)[’']?\s*)?"
    rf"(?:(?:{_CERTAINLY}|most)\s+)*"
    rf"(?:(?:{_CERTAINLY})"
    rf"|(?:{_AUXILIARY}|s)(?P<denies>\s+(?:\w+ly\s+)?not|n[’']t)?"
    r"(?:\s+(?:correct|right|true|the case|(?P<false>incorrect|wrong|false)))?"
    r"|(?P<not>not(?: really| at all| quite| any ?more)?))\W*$",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\b(?:answer(?: to (?:the|this) question)?(?: is|:)\W{0,4}(?P<word>yes|no)\b(?! \w)"
    # "So no dividends were paid" is no answer by its "no".
    r"|(?:in (?:summary|conclusion|short)|therefore|thus|so),? (?P<sum>yes\b|no\b(?=\s*[,.;:]|\W*$)))",
    re.IGNORECASE,
)
_ASKS = re.compile(rf"(?:^|[.,:;?]\s+|\b(?:and|whether)\s+)(?:{_AUXILIARY})\b", re.IGNORECASE)
# Beside a "not" of the question, that of an answer may deny or repeat it.
_ASKED_NOT = re.compile(r"^[^.?]*\bnot\b")
_LEAVES_OPEN = re.compile(r"\b(?:to determine|whether|if)\b", re.IGNORECASE)
_RISE = "increase rise rose grow grew growth higher improve expand gain up"
_FALL = "decrease decline fall fell drop lower shrink shrank worsen deteriorate reduce contract narrower down"
_NEITHER = "flat unchanged constant steady"
_OPPOSITES = tuple(
    (stems(one), stems(other))
    for one, other in (
        (_RISE, _FALL),
        (_RISE, _NEITHER),
        (_FALL, _NEITHER),
        ("profit profitable", "loss unprofitable"),
        ("consistent stable", "inconsistent unstable volatile fluctuate"),
        ("healthy strong", "unhealthy weak poor"),
    )
)
# A short answer need not repeat much of the question to be about what was asked.
_SHORT = 100
_REPEATS = 0.5


def asks_yes_or_no(question: str) -> bool:
    """Return whether a question can be answered with yes or no."""
    return _ASKS.search(question) is not None


def leading_stance(text: str) -> bool | None:
    """Return whether a text begins or concludes with yes (True) or no (False); None if it does neither."""
    if match := _LEAD.match(text):
        says_yes = match["yes"] is not None
        taken_back = (_NO_AGAIN if says_yes else _YES_AGAIN).search(text, match.end())
        return None if taken_back else says_yes
    concludes = _CONCLUSION.search(text)
    return (concludes["word"] or concludes["sum"]).lower() == "yes" if concludes else None


def stance(text: str, question: str) -> bool | None:
    """Return whether a text answers a question with yes (True) or no (False); None if that cannot be told."""
    leads = leading_stance(text)
    if leads is not None or not asks_yes_or_no(question):
        return leads
    if ellipsis := _ELLIPSIS.match(text.strip()):
        denied = bool(ellipsis["denies"] or ellipsis["not"])
        return denied if ellipsis["false"] else not denied
    asked = content_stems(question)
    sentences = sentences_of(text)
    enough = 1.0 if len(sentences) == 1 and len(text) < _SHORT else max(2.0, _REPEATS * len(asked))
    shared = {sentence: len(asked & content_stems(sentence)) for sentence in sentences}
    best = max(sentences, key=shared.__getitem__, default="")
    if not best or shared[best] < max(1.0, min(enough, len(asked))):
        return None
    return _affirms(best, question, asked)


def _affirms(sentence: str, question: str, asked: frozenset[str]) -> bool | None:
    """Return whether a sentence affirms what a question with some stems asks; None if that cannot be told."""
    if refusals(sentence) or _LEAVES_OPEN.search(sentence) or sentence.rstrip().endswith((":", "?")):
        return None
    negated = is_negated(sentence)
    if negated is None or (negated and _ASKED_NOT.search(question)):
        return None
    words = content_stems(sentence)
    for one, other in _OPPOSITES:
        for mine, against in ((one, other), (other, one)):
            if asked & mine and not asked & against and words & against and not words & mine:
                negated = not negated
    return not negated
