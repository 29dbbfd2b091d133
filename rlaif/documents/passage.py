"""Finds the line or sentence of a context that supports an answer, to help people check predictions."""

import re
from collections.abc import Iterator, Sequence

from rlaif.documents.document import Chunk
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

    The best passage shares the most amounts with the answer. Ties are broken by the number of shared years, then of
    words shared with the answer, then of words and years shared with the question, then by order. A table row is one
    passage. It is "" if no passage shares a number or a word with the answer or the question.
    """
    return _best([context], question, answer)[0]


def supporting_chunk(chunks: Sequence[Chunk], question: str, answer: str) -> tuple[Chunk | None, str]:
    """Return the chunk that best supports an answer, with the passage in it; None and "" if none does.

    Chunks come best first, which breaks ties; see `supporting_passage`.
    """
    passage, number = _best([chunk.text for chunk in chunks], question, answer)
    return (chunks[number], passage) if passage else (None, "")


def _best(contexts: Sequence[str], question: str, answer: str) -> tuple[str, int]:
    """Return the best passage of several contexts, and the number of its context; "" and 0 if there is none."""
    amounts, years = _numbers(answer)
    words = _words(answer)
    asked = _words(question) - words
    asked_years = _numbers(question)[1]
    best, best_rank, found = "", (0, 0, 0, 0), 0
    for number, passage in ((number, each) for number, text in enumerate(contexts) for each in _passages(text)):
        held, held_years = _numbers(passage)
        held_words = _words(passage)
        rank = (
            len(amounts & held),
            len(years & held_years),
            len(words & held_words),
            len(asked & held_words) + len(asked_years & held_years),
        )
        if rank > best_rank:
            best, best_rank, found = passage, rank, number
    return best, found


def _passages(context: str) -> Iterator[str]:
    for line in context.splitlines():
        for part in [line] if "|" in line else _SENTENCE_END.split(line):
            if passage := part.strip():
                yield passage


def _numbers(text: str) -> tuple[frozenset[float], frozenset[float]]:
    """Return the absolute amounts of a text, without their scale, and its years.

    Tables often give the scale in the header and negative amounts in brackets, so comparing scales or signs would miss
    matching cells.
    """
    quantities = parse_quantities(text)
    return (
        frozenset(abs(quantity.number) for quantity in quantities if not quantity.year),
        frozenset(quantity.number for quantity in quantities if quantity.year),
    )


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower())) - _COMMON
