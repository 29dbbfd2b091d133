"""Reads the questions of a run from the source in its recipe.

Invariant: every row becomes one validated question or an error with the file and the line (the row for a Parquet file
or a dataset). No row is skipped, and no two questions share an id.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rlaif.data.context import read_context
from rlaif.data.criteria import Criterion, criteria_tree, read_criteria
from rlaif.data.demo.questions import demo_questions
from rlaif.data.gold_answer import read_gold_answer
from rlaif.data.question import Chat, Question, chat_tree
from rlaif.data.question_chat import read_chat
from rlaif.documents.tables import with_heads
from rlaif.errors import Fault, UserError, first_line
from rlaif.io.column_names import ColumnNames
from rlaif.io.fields import Fields, rows_of_fields
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_unique_ids
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, QuestionSource

_RENAMED = {"answer": Renamed("gold_answer")}

QUESTION_FIELDS = tuple(Columns.model_fields)
"""The fields of a question; `Columns` says what each holds."""
_OF_DOCUMENTS = ("document", "evidence")


def load_questions(
    source: QuestionSource,
    tables: Literal["plain", "heads"] = "plain",
    columns: ColumnNames | None = None,
    *,
    documents: bool = False,
) -> list[Question]:
    """Read the questions of a source, in order. A question without an id gets one derived from its content.

    Args:
        tables: how those in contexts are shown.
        columns: the file's own names; None takes those of the source.
        documents: whether to read each question's document and evidence, also from columns that nobody names.
    """
    questions = _load(source, columns, documents)
    if tables == "plain":
        return questions
    return [replace(question, context=with_heads(question.context)) for question in questions]


def _load(source: QuestionSource, columns: ColumnNames | None, documents: bool) -> list[Question]:
    if isinstance(source, DemoQuestions):
        return demo_questions(source.split, source.count, source.seed)
    named = columns or _named(source.columns)
    # Elsewhere a file may mean something else by these names.
    names = [name for name in QUESTION_FIELDS if documents or name not in _OF_DOCUMENTS or name in named.by_field]
    fields = Fields(names, _RENAMED, named)
    if isinstance(source, DatasetQuestions):
        name = f"{source.id}[{source.split}]"
        rows = rows_of_fields(islice(_dataset_rows(source, name, fields.wanted), source.limit), fields)
    else:
        name, rows = source.path, read_file(source.path, fields, limit=source.limit)
    return with_unique_ids(_questions(rows), name, "questions")


def _named(columns: Columns) -> ColumnNames:
    """Return the columns that a recipe names; one with the name of its field may be missing."""
    tree = columns.model_dump()
    return ColumnNames({name: column for name, column in tree.items() if column != name}, "columns")


def _dataset_rows(source: DatasetQuestions, name: str, columns: list[str]) -> Iterator[Row]:
    """Yield the rows of a split of a dataset, on the Hub or in a local folder, also one that `save_to_disk` wrote."""
    import datasets

    folder = Path(source.id)
    try:
        if (folder / "dataset_dict.json").is_file():
            data = datasets.load_from_disk(source.id)[source.split]
        elif (folder / "state.json").is_file():
            data = datasets.load_from_disk(source.id)
        else:
            data = datasets.load_dataset(source.id, source.name, split=source.split)
    except KeyError:
        raise UserError(Fault(name, "no such split")) from None
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise UserError(Fault(name, first_line(error))) from None
    there = list(data.column_names)
    selected = data.select_columns([column for column in there if column in columns])
    for number, values in enumerate(selected, start=1):
        yield Row(name, values, there, number=number)


def questions_sha(questions: Iterable[Question]) -> str:
    """Return the sha256 of all that questions hold, in order, without what a run retrieves for them.

    The evidence counts where there is no context, since the question is then answered from documents.
    """
    digest = hashlib.sha256()
    for question in questions:
        content: list[Any] = [
            question.id, question.question, question.context, question.gold_answer, question.doc_link
        ]  # fmt: skip
        if question.criteria:
            content.append(criteria_tree(question.criteria))
        if question.chat:
            content.append({"messages": chat_tree(question.chat)})
        if question.document:
            content.append({"document": question.document})
        if question.evidence and not question.context:
            content.append({"evidence": question.evidence})
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()


def _questions(rows: Iterable[Row]) -> Iterator[tuple[Row, Question]]:
    id_counts: Counter[str] = Counter()
    for row in rows:
        chat = read_chat(row)
        if not chat and "question" not in row.values:
            raise row.missing("question")
        text = chat[-1].content.strip() if chat else (row.optional("question") or "").strip()
        if not text:
            raise row.error("", "empty question")
        context = row.read("context", read_context).strip()
        document = (row.optional("document") or "").strip() or None
        yield (
            row,
            Question(
                row.id() or _content_id(text, chat, context or document or "", id_counts),
                text,
                context,
                row.read("gold_answer", read_gold_answer),
                (row.optional("doc_link") or "").strip() or None,
                evidence=row.read("evidence", read_context).strip() or None,
                criteria=_criteria(row),
                chat=chat,
                document=document,
            ),
        )


def _criteria(row: Row) -> tuple[Criterion, ...]:
    try:
        return row.read("criteria", read_criteria)
    except UserError as error:
        raise UserError(*error.faults, f"{row.names.written({'criteria': ''})} reads no criteria") from None


def _content_id(question: str, chat: Chat, context: str, id_counts: Counter[str]) -> str:
    """Return an id derived from the content; an id that repeats gets a numeric suffix.

    Args:
        context: or the name of the document that it will come from.
    """
    content = f"{question}\n{context}" + (f"\n{json.dumps(chat_tree(chat))}" if chat else "")
    name = hashlib.sha256(content.encode()).hexdigest()[:16]
    id_counts[name] += 1
    return name if id_counts[name] == 1 else f"{name}-{id_counts[name]}"
