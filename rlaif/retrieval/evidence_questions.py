"""Questions whose evidence or page is known, by which searchers are measured.

Invariant: every row becomes one question with something that a search can find, or an error that names its line.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.data.context import read_context
from rlaif.data.gold_answer import GoldAnswer, read_gold_answer
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.fields import Fields
from rlaif.io.rows import Row, read_file, with_unique_ids

FIELDS = {
    "id": "of the question; its number in the file where there is none",
    "question": "what is searched for",
    "evidence": "what the answer needs: a text, or a list of texts or of objects with a text, each by itself",
    "context": "the same, where there is no `evidence`",
    "document": "name of the document that the question is about",
    "doc_name": "the same, where there is no `document`",
    "doc_link": "the same by its link, where there is no name",
    "page": "of the document, from 1, on which the evidence is, or a list of them",
    "kind": "of question, by which the report counts",
    "question_type": "the same, where there is no `kind`",
    "gold_answer": "what is right, where answers are measured, in the forms of a run's questions",
    "answer": "the same, where there is no `gold_answer`",
}
"""The columns of a file of such questions; only the question, and evidence or page, must be there."""


@dataclass(frozen=True, slots=True)
class EvidenceQuestion:
    """A question, and where its answer is.

    Attributes:
        evidence: texts that hold what the answer needs; empty where only pages are known.
        documents: names and links of its document, the most exact first.
        pages: of the document, from 1; empty where they are not known.
        kind: None where the file names none.
        gold_answer: None where it is not known or not read.
    """

    id: str
    question: str
    evidence: tuple[str, ...]
    documents: tuple[str, ...]
    pages: tuple[int, ...]
    kind: str | None
    gold_answer: GoldAnswer | None = None


def read_evidence_questions(
    path: str, columns: ColumnNames = ANY_NAMES, *, gold_answers: bool = False
) -> list[EvidenceQuestion]:
    """Read the questions of a file of JSON, CSV or Parquet; see `FIELDS`.

    Args:
        gold_answers: whether to read them.
    """
    return with_unique_ids(_questions(path, columns, gold_answers), path, "questions")


def _questions(path: str, columns: ColumnNames, gold_answers: bool) -> Iterator[tuple[Row, EvidenceQuestion]]:
    for number, row in enumerate(read_file(path, Fields(tuple(FIELDS), columns=columns)), start=1):
        evidence = row.read("evidence", _texts) or row.read("context", _texts)
        pages = row.read("page", _pages)
        if not (evidence or pages):
            raise row.error("evidence", "missing, and so are context and page", expected="what the answer needs")
        gold = None
        if gold_answers:
            gold = row.read("gold_answer", read_gold_answer) or row.read("answer", read_gold_answer)
        named = (row.optional(field) for field in ("document", "doc_name", "doc_link"))
        yield (
            row,
            EvidenceQuestion(
                row.id() or str(number),
                row.text("question"),
                evidence,
                tuple(name.strip() for name in named if name and name.strip()),
                pages,
                row.optional("kind") or row.optional("question_type"),
                gold,
            ),
        )


def read_passages(path: str) -> Iterator[tuple[str, str]]:
    """Yield the document's name, or "", and the text of each passage of a file.

    The text is in the column `text`, `context` or `evidence`.
    """
    for row in read_file(path, ("text", "context", "evidence", "document", "doc_name")):
        field = next((name for name in ("text", "context", "evidence") if name in row.values), "text")
        texts = row.read(field, _texts)
        if not texts:
            raise row.missing(field) if field not in row.values else row.error(field, "empty", expected="a text")
        name = row.optional("document") or row.optional("doc_name") or ""
        yield from ((name, text) for text in texts)


def _texts(value: object) -> tuple[str, ...]:
    """Return each text of a list by itself, or the one that there is."""
    parts = value if isinstance(value, (list, tuple)) else [value]
    read = (read_context([part]) if isinstance(part, dict) else read_context(part) for part in parts)
    return tuple(text.strip() for text in read if text.strip())


def _pages(value: object) -> tuple[int, ...]:
    given: Sequence[Any] = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    found = []
    for each in given:
        try:
            number = float(each)
        except (TypeError, ValueError):
            number = 0.0
        if isinstance(each, bool) or number < 1 or not number.is_integer():
            raise ValueError("expected the number of a page, from 1, or a list of them")
        found.append(int(number))
    return tuple(found)
