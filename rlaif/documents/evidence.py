"""Whether a passage may hold what an answer needs, so that it can be withheld.

Invariant: words and figures are compared whatever their order, since chunks of tables repeat heads and cut rows. In
doubt a passage holds the evidence: a question whose evidence is withheld must not be shown it.
"""

from collections.abc import Sequence
from functools import lru_cache

from rlaif.grading.quantities import parse_quantities
from rlaif.grading.text import content_stems

# Of the words and figures of the one that the other has too.
_SAME = 0.6
_HALF = 0.5


def holds_evidence(passage: str, evidence: str) -> bool:
    """Return whether a passage holds a good part of the evidence, or is a part of it."""
    figures, wanted = _amounts(passage), _amounts(evidence)
    if len(wanted) > 1 and len(figures & wanted) >= _HALF * len(wanted):
        return True
    has, needs = figures | content_stems(passage), wanted | content_stems(evidence)
    return bool(has and needs) and len(has & needs) >= _SAME * min(len(has), len(needs))


def holds_answer(passage: str, gold_answers: Sequence[str], question: str) -> bool:
    """Return whether a passage holds all figures of a gold answer that the question lacks, or most of its words."""
    return any(_holds(passage, gold, question) for gold in gold_answers)


def tells_answer(gold_answers: Sequence[str], question: str) -> bool:
    """Return whether `holds_answer` can tell: a gold answer has figures or words that the question has not."""
    return any(any(_asked_for(gold, question)) for gold in gold_answers)


def _holds(passage: str, gold: str, question: str) -> bool:
    figures, words = _asked_for(gold, question)
    if figures:
        return figures <= _amounts(passage)
    return bool(words) and len(words & content_stems(passage)) >= _SAME * len(words)


def _asked_for(gold: str, question: str) -> tuple[frozenset[float], frozenset[str]]:
    return _amounts(gold) - _amounts(question), content_stems(gold) - content_stems(question)


# The chunks of a document are compared with the evidence of many questions.
@lru_cache(maxsize=4096)
def _amounts(text: str) -> frozenset[float]:
    """Return the absolute numbers of a text without their scale, and without years."""
    return frozenset(abs(quantity.number) for quantity in parse_quantities(text) if not quantity.year)
