"""Which retrieved chunk supports an answer, and whether the answer is a refusal.

Invariant: what is cited is one of the chunks that the policy was shown. A refusal cites nothing.
"""

from typing import Any

from rlaif.chat import visible_text
from rlaif.data.question import Question
from rlaif.documents.passage import supporting_chunk
from rlaif.grading.refusal import is_refusal

PLACE = ("chunk", "document", "page")
"""What says where the passage is that supports an answer."""
OF_RETRIEVED = ("chunks", *PLACE, "passage", "withheld", "refused")
"""The fields of an answer that only a retrieved context gives it."""


def cited_fields(question: Question, answer: str, refusal: str) -> dict[str, Any]:
    """Return the fields of an answer that `OF_RETRIEVED` names, those with a value.

    Args:
        refusal: the phrase of a plain refusal.
    """
    if question.chunks is None:
        return {}
    fields = {"chunks": tuple(chunk.id for chunk in question.chunks), "withheld": question.withheld}
    if question.unasked:
        return fields
    refused, shown = is_refusal(answer, refusal, question.question), visible_text(answer)
    if refused or not shown.strip():
        return fields | {"refused": refused}
    chunk, passage = supporting_chunk(question.chunks, question.question, shown)
    place = {"chunk": chunk.id, "document": chunk.document, "page": chunk.page, "passage": passage} if chunk else {}
    return fields | {"refused": False} | place
