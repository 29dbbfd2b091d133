"""Reads the questions of a run from the source in its recipe.

Invariant: every row becomes one validated question or an error with the file and the line (the row for a Parquet file
or a dataset). No row is skipped, and no two questions share an id.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from rlaif.data.criteria import Criterion, criteria_tree, read_criteria
from rlaif.data.demo.questions import demo_questions
from rlaif.data.gold_answer import GoldAnswer, read_gold_answer
from rlaif.data.question import Question
from rlaif.documents.tables import with_heads
from rlaif.errors import Fault, UserError, first_line
from rlaif.io.renamed import Renamed
from rlaif.io.rows import Row, read_file, with_new_names, with_unique_ids
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, QuestionSource


def load_questions(source: QuestionSource, tables: Literal["plain", "heads"] = "plain") -> list[Question]:
    """Read the questions of a source, in order; `tables` says how those in contexts are shown.

    A question without an id gets one derived from its content. A context may be a list of texts or of objects with a
    `text`; blank lines join its parts. A gold answer may be a number, or a list of several of which each is right.
    """
    questions = _load(source)
    if tables == "plain":
        return questions
    return [replace(question, context=with_heads(question.context)) for question in questions]


def _load(source: QuestionSource) -> list[Question]:
    if isinstance(source, DemoQuestions):
        return demo_questions(source.split, source.count, source.seed)
    columns = list(dict.fromkeys(source.columns.model_dump(exclude_none=True).values()))
    # If the recipe maps the gold answer to another column, a column called `answer` may hold something else.
    renames = {"answer": Renamed("gold_answer")} if source.columns.gold_answer == "gold_answer" else {}
    if isinstance(source, DatasetQuestions):
        name = f"{source.id}[{source.split}]"
        rows = with_new_names(_dataset_rows(source, name, [*columns, *renames]), renames)
    else:
        name, rows = source.path, read_file(source.path, columns, renames)
    return with_unique_ids(_questions(name, islice(rows, source.limit), source.columns), name, "questions")


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
    """Return the sha256 of the ids, texts, contexts, gold answers, links and criteria of questions, in order."""
    digest = hashlib.sha256()
    for question in questions:
        content: list[Any] = [
            question.id, question.question, question.context, question.gold_answer, question.doc_link
        ]  # fmt: skip
        if question.criteria:
            content.append(criteria_tree(question.criteria))
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()


def _questions(name: str, rows: Iterable[Row], columns: Columns) -> Iterator[tuple[Row, Question]]:
    reader = _RowReader(columns)
    id_counts: Counter[str] = Counter()
    for row in rows:
        text = reader.text(row, "question")
        if not text:
            raise row.error("", "empty question")
        context = reader.context(row)
        id_ = reader.text(row, "id") or _content_id(text, context, id_counts)
        doc_link = reader.text(row, "doc_link")
        gold_answer, criteria = reader.gold_answer(row), reader.criteria(row)
        yield row, Question(id_, text, context, gold_answer, doc_link or None, criteria=criteria)
    reader.check_mapped(name)


def _content_id(question: str, context: str, id_counts: Counter[str]) -> str:
    """Return an id derived from the content; an id that repeats gets a numeric suffix."""
    name = hashlib.sha256(f"{question}\n{context}".encode()).hexdigest()[:16]
    id_counts[name] += 1
    return name if id_counts[name] == 1 else f"{name}-{id_counts[name]}"


class _RowReader:
    """Reads the parts of a question from rows, and records which columns exist."""

    def __init__(self, columns: Columns) -> None:
        self._columns: dict[str, str] = columns.model_dump(exclude_none=True)
        # A column that the recipe sets must exist; a column with its default name may be missing.
        defaults = Columns().model_dump()
        self._unseen = {part for part, column in self._columns.items() if column != defaults[part]}
        self._keys: dict[str, None] = {}

    def text(self, row: Row, part: str) -> str:
        """Return a part of a question as stripped text, or "" if it is missing or null."""
        value = self._value(row, part)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, (list, dict)):
            raise row.error(self._columns[part], expected="text", found=_kind(value))
        return row.checked(self._columns[part], str(value).strip())

    def context(self, row: Row) -> str:
        """Return the context as text; blank lines join the parts of a list."""
        value = self._value(row, "context")
        if not isinstance(value, (list, dict)):
            return self.text(row, "context")
        parts = []
        for part in value if isinstance(value, list) else [value]:
            text = part.get("text") if isinstance(part, dict) else part
            if not isinstance(text, str):
                expected = "text, or a list of texts or of objects with a text"
                raise row.error(self._columns["context"], expected=expected, found=f"a list with {_kind(part)}")
            parts.append(text.strip())
        return row.checked(self._columns["context"], "\n\n".join(part for part in parts if part))

    def gold_answer(self, row: Row) -> GoldAnswer | None:
        """Return the gold answer, or None if it is missing or null."""
        self._value(row, "gold_answer")
        return row.read(self._columns["gold_answer"], read_gold_answer)

    def criteria(self, row: Row) -> tuple[Criterion, ...]:
        """Return the criteria of a question; none if they are missing, null or not wanted."""
        if "criteria" not in self._columns:
            return ()
        self._value(row, "criteria")
        try:
            return row.read(self._columns["criteria"], read_criteria)
        except UserError as error:
            raise UserError(*error.faults, "columns.criteria: null in the recipe reads no criteria") from None

    def check_mapped(self, name: str) -> None:
        """Raise UserError if the recipe sets a column that no row of the source has."""
        if self._unseen and self._keys:
            raise UserError(Fault(name, self._no_column(min(self._unseen), self._keys)))

    def _value(self, row: Row, part: str) -> Any:
        column = self._columns[part]
        self._keys.update(dict.fromkeys(row.columns))
        if column in row.values:
            self._unseen.discard(part)
        elif part == "question":
            problem = self._no_column(part, row.columns)
            raise UserError(Fault(row.path, problem, row.line if row.ragged else None))
        return row.values.get(column)

    def _no_column(self, part: str, columns: Iterable[str]) -> str:
        return (
            f"no column {self._columns[part]!r}; columns here: {', '.join(columns) or 'none'}; "
            f"columns.{part} in the recipe names the column of the {part.replace('_', ' ')}"
        )


def _kind(value: object) -> str:
    return {"list": "a list", "dict": "an object", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)
