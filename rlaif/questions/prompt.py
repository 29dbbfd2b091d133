"""The prompt: one question with its id, its context and, where known, a reference answer."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Prompt:
    """One question, as every part of a run sees it. `id` is unique within a set of questions."""

    id: str
    question: str
    context: str = ""
    reference: str | None = None
    doc_link: str | None = None
