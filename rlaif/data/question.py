"""The prompt: one question with its id, its context and, where known, a reference answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """One question, as every part of a run sees it.

    Attributes:
        id: unique within a set of questions.
        question: as a person asks it.
        context: the text that the answer must follow from, or "".
        reference: the gold answer, where one is known.
        doc_link: where the document that the question is about can be found.
        evidence: the row or sentence of the context that supports the reference, where it is known.
    """

    id: str
    question: str
    context: str = ""
    reference: str | None = None
    doc_link: str | None = None
    evidence: str | None = None
