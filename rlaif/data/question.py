"""One question with its id, its context and, where known, a gold answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as every part of a run sees it.

    Attributes:
        id: unique within a set of questions.
        question: as a person asks it.
        context: the text that the answer must follow from, or "".
        gold_answer: the right answer, where one is known.
        doc_link: where the document that the question is about can be found.
        evidence: the row or sentence of the context that supports the gold answer, where it is known.
    """

    id: str
    question: str
    context: str = ""
    gold_answer: str | None = None
    doc_link: str | None = None
    evidence: str | None = None
