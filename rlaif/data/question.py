"""A question with its id, its context and, if known, its gold answer."""

from dataclasses import dataclass

from rlaif.data.criteria import Criterion
from rlaif.data.gold_answer import GoldAnswer


@dataclass(frozen=True, slots=True)
class Question:
    """A question, as used in every part of a run.

    Attributes:
        id: unique within a set of questions.
        context: text that the answer must follow from, or "".
        gold_answer: None if unknown; several texts if each of them is right.
        doc_link: None if unknown.
        evidence: row or sentence of the context that supports the gold answer, if known.
        criteria: what judges with criteria mark its answers by; none takes those of the judge file.
    """

    id: str
    question: str
    context: str = ""
    gold_answer: GoldAnswer | None = None
    doc_link: str | None = None
    evidence: str | None = None
    criteria: tuple[Criterion, ...] = ()
