"""The contexts of questions, retrieved from documents.

Invariant: a context is whole chunks in the order of their ranks. A question is asked with a context or, with the
reason, not at all; one that brings a context keeps it. Seed and ids alone decide whose evidence is withheld.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from rlaif.data.question import Question
from rlaif.documents.document import Chunk
from rlaif.documents.evidence import holds_answer, holds_evidence, tells_answer
from rlaif.documents.index import Hit
from rlaif.recipe.documents import DocumentsSection

# Chunks that fill a budget of tokens, and those that may hold the evidence.
_MOST, _SPARE = 64, 32
# Of a blank line between two chunks.
_BETWEEN = 2


class Searches(Protocol):
    """What finds chunks; see `rlaif.retrieval.search`."""

    def search(self, query: str, k: int, document: str | None = None) -> Sequence[Hit]:
        """Return the `k` best chunks, best first; `document` restricts the search to one."""
        ...


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What was retrieved for a question.

    Attributes:
        chunks: best first, each with its score, None where a reranker gave none.
        withheld: whether those with the evidence were left out.
        unasked: why there is no context, or "".
    """

    chunks: tuple[tuple[Chunk, float | None], ...] = ()
    withheld: bool = False
    unasked: str = ""

    def given_to(self, question: Question, refusal: str) -> Question:
        """Return a question with this as its context; `refusal` is its gold answer if the evidence is withheld."""
        chunks = tuple(chunk for chunk, _ in self.chunks)
        asked = replace(
            question, context="\n\n".join(chunk.text for chunk in chunks), chunks=chunks, unasked=self.unasked
        )
        return replace(asked, withheld=True, gold_answer=refusal, evidence=None) if self.withheld else asked


def with_gold_evidence(question: Question) -> Question:
    """Return a question with its evidence as the context; one that brings a context keeps it."""
    if question.context:
        return question
    if not question.evidence:
        return replace(question, unasked="no evidence is known (questions.documents.contexts: gold)")
    return replace(question, context=question.evidence)


def retrieve(
    questions: Sequence[Question],
    searcher: Searches,
    section: DocumentsSection,
    *,
    documents: Sequence[str | None],
    withheld: float,
    seed: int,
    count_tokens: Callable[[Sequence[str]], Sequence[int]],
) -> list[Retrieved]:
    """Search the context of each question.

    Args:
        documents: names of those to search, one for each question; None searches all.
        withheld: share of the questions whose evidence is left out.
        count_tokens: returns the tokens of texts, as the policy counts them; asked once, where `max_tokens` is set.
    """
    found = [
        _search(question, searcher, section, document, _is_drawn(question, withheld, seed))
        for question, document in zip(questions, documents, strict=True)
    ]
    if section.max_tokens is not None:
        texts = list(dict.fromkeys(chunk.text for each in found for chunk, _ in each.chunks))
        tokens = dict(zip(texts, count_tokens(texts), strict=True))
        found = [_within(each, section.max_tokens, tokens) for each in found]
    return [_limited(each, section.top_k) for each in found]


def _is_drawn(question: Question, share: float, seed: int) -> bool:
    """Return whether a question is among the share that is withheld, if its evidence can be told."""
    digest = hashlib.sha256(f"withheld\0{seed}\0{question.id}".encode()).digest()
    if int.from_bytes(digest[:6], "big") >= share * 2**48:
        return False
    return bool(question.evidence) or tells_answer(_gold_answers(question), question.question)


def _search(
    question: Question, searcher: Searches, section: DocumentsSection, document: str | None, withhold: bool
) -> Retrieved:
    wanted = section.top_k if section.max_tokens is None and section.top_k else _MOST
    # Each chunk begins with its document's name, which so finds them all.
    queries = [question.question, *([document] if document else [])]
    if withhold:
        for query in queries:
            hits = searcher.search(query, wanted + _SPARE, document)
            if left := [hit for hit in hits if not _is_evidence(hit.chunk, question)]:
                return Retrieved(_scored(left[:wanted]), withheld=True)
    # Where all that is found may hold the evidence, the question is asked with it.
    for query in queries:
        if hits := searcher.search(query, wanted, document):
            return Retrieved(_scored(hits))
    return Retrieved(unasked=f"no passage of {document or 'the documents'} has a word of it")


def _scored(hits: Sequence[Hit]) -> tuple[tuple[Chunk, float | None], ...]:
    return tuple((hit.chunk, hit.score) for hit in hits)


def _is_evidence(chunk: Chunk, question: Question) -> bool:
    if question.evidence and holds_evidence(chunk.text, question.evidence):
        return True
    return holds_answer(chunk.text, _gold_answers(question), question.question)


def _gold_answers(question: Question) -> Sequence[str]:
    gold = question.gold_answer
    return [] if gold is None else [gold] if isinstance(gold, str) else gold


def _within(retrieved: Retrieved, budget: int, tokens: Mapping[str, int]) -> Retrieved:
    kept: list[tuple[Chunk, float | None]] = []
    left = budget
    for chunk, score in retrieved.chunks:
        size = tokens[chunk.text] + (_BETWEEN if kept else 0)
        if size <= left:
            kept.append((chunk, score))
            left -= size
    if retrieved.chunks and not kept:
        return Retrieved(unasked=f"no passage fits into questions.documents.max_tokens ({budget})")
    return replace(retrieved, chunks=tuple(kept))


def _limited(retrieved: Retrieved, top_k: int | None) -> Retrieved:
    return replace(retrieved, chunks=retrieved.chunks[:top_k])
