"""Finds the line or sentence of a context that supports an answer, for those who check predictions."""

import re
from collections.abc import Iterator

from rlaif.grading.quantities import parse_quantities

_WORD = re.compile(r"[^\W\d_]{2,}")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"“(])")
_COMMON = frozenset({
    "the", "an", "and", "or", "of", "in", "to", "for", "was", "were", "is", "are", "did", "does", "do", "what", "which",
    "who", "when", "where", "how", "much", "many", "by", "at", "on", "from", "its", "it", "that", "with", "as",
    "million", "fiscal", "year",
})  # fmt: skip


def supporting_passage(context: str, question: str, answer: str) -> str:
    """Return the line or sentence of a context that best supports an answer, word for word.

    The passage with most of the answer's amounts is taken; among equals the one with most of its years, then of its
    words, then of the question's words and years, and then the first. A line of a table is kept whole.

    Args:
        context: tables with a row a line, prose, or both.
        question, answer: what was asked and what was answered.

    Returns:
        The passage, or "" where nothing in the context shares a number or a word with the answer or the question.
    """
    amounts, years = _numbers(answer)
    words = _words(answer)
    asked = _words(question) - words
    asked_years = _numbers(question)[1]
    best, best_rank = "", (0, 0, 0, 0)
    for passage in _passages(context):
        held, held_years = _numbers(passage)
        held_words = _words(passage)
        rank = (
            len(amounts & held),
            len(years & held_years),
            len(words & held_words),
            len(asked & held_words) + len(asked_years & held_years),
        )
        if rank > best_rank:
            best, best_rank = passage, rank
    return best


def _passages(context: str) -> Iterator[str]:
    for line in context.splitlines():
        for part in [line] if "|" in line else _SENTENCE_END.split(line):
            if passage := part.strip():
                yield passage


def _numbers(text: str) -> tuple[frozenset[float], frozenset[float]]:
    """Return the sizes of a text's amounts, without sign and scale, and its years.

    A table's cell has its scale in the head and its sign in brackets, so both would only keep it from being found.
    """
    quantities = parse_quantities(text)
    return (
        frozenset(abs(quantity.number) for quantity in quantities if not quantity.year),
        frozenset(quantity.number for quantity in quantities if quantity.year),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _COMMON
