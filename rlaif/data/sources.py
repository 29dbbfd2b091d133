"""Reads a run's questions from the source that its recipe names.

Invariant: every row becomes one checked question or an error with the file and the line (of a Parquet file or a
dataset, the row); no row is skipped, and no two questions share an id.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from rlaif.data.demo.questions import demo_questions
from rlaif.data.question import Question
from rlaif.errors import Fault, UserError, first_line
from rlaif.io.rows import Row, Table, UniqueIds, read_file, with_new_names
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, QuestionSource


def load_questions(source: QuestionSource) -> list[Question]:
    """Read the questions of a source, in their order.

    A row without an id gets one from its content. A context may be a list of texts, or of objects with a `text`; its
    parts are joined by a blank line. A gold answer may be a number.

    Raises:
        UserError: with the file, the line or row, and what was expected.
    """
    if isinstance(source, DemoQuestions):
        return demo_questions(source.split, source.count, source.seed)
    names = list(dict.fromkeys(source.columns.model_dump().values()))
    # A recipe that names the column of the gold answer may well have another one called `answer`.
    renamed = {"answer": "gold_answer"} if source.columns.gold_answer == "gold_answer" else {}
    if isinstance(source, DatasetQuestions):
        table = read_dataset(source, names, renamed)
    else:
        table = read_file(source.path, names, renamed)
    questions = list(_questions(table, source.columns, islice(table.rows, source.limit)))
    if not questions:
        raise UserError(Fault(table.name, "no questions", expected="at least one"))
    return questions


def questions_sha(questions: Iterable[Question]) -> str:
    """Return the sha256 of questions in their order: ids, texts, contexts, gold answers and links."""
    digest = hashlib.sha256()
    for question in questions:
        content = [question.id, question.question, question.context, question.gold_answer, question.doc_link]
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()


def _questions(table: Table, columns: Columns, rows: Iterable[Row]) -> Iterator[Question]:
    reader = _RowReader(table, columns)
    made: Counter[str] = Counter()
    ids = UniqueIds()
    for row in rows:
        text = reader.text(row, "question")
        if not text:
            raise row.error("", "empty question")
        context = reader.context(row)
        name = reader.text(row, "id") or _content_id(text, context, made)
        ids.add(row, name)
        gold_answer, doc_link = reader.text(row, "gold_answer"), reader.text(row, "doc_link")
        yield Question(name, text, context, gold_answer or None, doc_link or None)
    reader.check_mapped()


def _content_id(question: str, context: str, made: Counter[str]) -> str:
    """Return an id made from the content; repeated content gets a number."""
    name = hashlib.sha256(f"{question}\n{context}".encode()).hexdigest()[:16]
    made[name] += 1
    return name if made[name] == 1 else f"{name}-{made[name]}"


class _RowReader:
    """Takes the parts of a question from rows, and remembers which columns exist."""

    def __init__(self, table: Table, columns: Columns) -> None:
        self._table = table
        self._columns: dict[str, str] = columns.model_dump()
        # A column that the recipe names must exist; one at its default may be missing.
        defaults = Columns().model_dump()
        self._named = {part for part, column in self._columns.items() if column != defaults[part]}
        self._seen: set[str] = set()
        self._keys: dict[str, None] = {}

    def text(self, row: Row, part: str) -> str:
        """Return a part of a question as text without space around it, "" for a missing or null one."""
        value = self._value(row, part)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, (list, dict)):
            raise row.error(self._columns[part], expected="text", found=_kind(value))
        return row.checked(self._columns[part], str(value).strip())

    def context(self, row: Row) -> str:
        """Return the context, a list's parts joined by a blank line."""
        value = self._value(row, "context")
        if not isinstance(value, (list, dict)):
            return self.text(row, "context")
        parts = []
        for part in value if isinstance(value, list) else [value]:
            text = part.get("text") if isinstance(part, dict) else part
            if not isinstance(text, str):
                expected = "text, or a list of texts or of objects with a text"
                raise row.error(self._columns["context"], expected=expected, found=f"{_kind(part)} in it")
            parts.append(text.strip())
        return row.checked(self._columns["context"], "\n\n".join(part for part in parts if part))

    def check_mapped(self) -> None:
        """Raise UserError for a column that the recipe names and no row has."""
        for part in sorted(self._named - self._seen):
            if self._keys:
                raise UserError(self._missing(Fault(self._table.name), part, list(self._keys)))

    def _value(self, row: Row, part: str) -> Any:
        column = self._columns[part]
        self._keys.update(dict.fromkeys(row.columns))
        if column in row.values:
            self._seen.add(part)
        elif part == "question":
            place = Fault(self._table.name, line=row.line if self._table.ragged else None)
            raise UserError(self._missing(place, part, row.columns))
        return row.values.get(column)

    def _missing(self, place: Fault, part: str, there: Iterable[str]) -> Fault:
        columns = ", ".join(there) or "none"
        problem = (
            f"no column {self._columns[part]!r}; columns here: {columns}; "
            f"columns.{part} in the recipe names the column of the {part.replace('_', ' ')}"
        )
        return replace(place, problem=problem)


def _kind(value: object) -> str:
    return {"list": "a list", "dict": "an object", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)


def read_dataset(source: DatasetQuestions, columns: list[str], renamed: Mapping[str, str]) -> Table:
    """Open a split of a dataset on the hub or in a local folder, including one that `save_to_disk` wrote.

    `columns` and `renamed` are those of `rlaif.io.rows.read_file`.

    Raises:
        UserError: there is no such dataset, configuration or split, or the hub cannot be reached.
    """
    import datasets

    name = f"{source.id}[{source.split}]"
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
    wanted = data.select_columns([column for column in there if column in columns or column in renamed])

    def rows() -> Iterator[Row]:
        for number, values in enumerate(wanted, start=1):
            yield Row(name, values, there, number=number)

    return Table(name, with_new_names(rows(), renamed), ragged=False)
