"""Reads a run's questions from where its recipe says they are.

Invariant: every row becomes one checked prompt or one message that names the file and the line (of a Parquet file or
a dataset, the row); no row is skipped in silence, and no two prompts have one id.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from rlaif.data.demo.questions import demo_questions
from rlaif.data.question import Question
from rlaif.errors import UserError, first_line
from rlaif.io.rows import Row, Table, read_file
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, QuestionSource


def load_questions(source: QuestionSource) -> list[Question]:
    """Read the questions of a source, in their order.

    A row without an id gets one from its content. A context may be a list of texts, or of objects with a `text`; its
    parts are joined by a blank line. An answer may be a number.

    Raises:
        UserError: with the file, the line or row, and what was expected.
    """
    if isinstance(source, DemoQuestions):
        return demo_questions(source.split, source.count, source.seed)
    names = list(dict.fromkeys(source.columns.model_dump().values()))
    table = read_dataset(source, names) if isinstance(source, DatasetQuestions) else read_file(source.path, names)
    prompts = list(_prompts(table, source.columns, islice(table.rows, source.limit)))
    if not prompts:
        raise UserError(f"{table.name}: no questions; expected at least one")
    return prompts


def questions_sha(prompts: Iterable[Question]) -> str:
    """Return the sha256 of what is asked, in its order: ids, questions, contexts, references and links."""
    digest = hashlib.sha256()
    for prompt in prompts:
        content = [prompt.id, prompt.question, prompt.context, prompt.gold_answer, prompt.doc_link]
        digest.update(json.dumps(content).encode() + b"\n")
    return digest.hexdigest()


def _prompts(table: Table, columns: Columns, rows: Iterable[Row]) -> Iterator[Question]:
    reader = _RowReader(table, columns)
    made: Counter[str] = Counter()
    places: dict[str, str] = {}
    for row in rows:
        question = reader.text(row, "question")
        if not question:
            raise UserError(f"{row.place}: empty question")
        context = reader.context(row)
        given = reader.text(row, "id")
        name = given or _content_id(question, context, made)
        if name in places:
            raise UserError(f"{row.place}: the id {name!r} is also that of {places[name]}; expected ids that differ")
        places[name] = row.place
        yield Question(
            name, question, context, reader.text(row, "answer") or None, reader.text(row, "doc_link") or None
        )
    reader.check_mapped()


def _content_id(question: str, context: str, made: Counter[str]) -> str:
    """Return an id that the content decides; rows of the same content are told apart by their count."""
    name = hashlib.sha256(f"{question}\n{context}".encode()).hexdigest()[:16]
    made[name] += 1
    return name if made[name] == 1 else f"{name}-{made[name]}"


class _RowReader:
    """Takes the parts of a question from rows, and remembers which columns were there."""

    def __init__(self, table: Table, columns: Columns) -> None:
        self._table = table
        self._columns: dict[str, str] = columns.model_dump()
        # A column that the recipe names must be there; one that it leaves at its default may be missing.
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
            raise UserError(f"{row.place}: {self._columns[part]}: expected text, got {_kind(value)}")
        return _checked(str(value).strip(), row, self._columns[part])

    def context(self, row: Row) -> str:
        """Return the context, a list's parts joined by a blank line."""
        value = self._value(row, "context")
        if not isinstance(value, (list, dict)):
            return self.text(row, "context")
        parts = []
        for part in value if isinstance(value, list) else [value]:
            text = part.get("text") if isinstance(part, dict) else part
            if not isinstance(text, str):
                expected = "expected text, or a list of texts or of objects with a text"
                raise UserError(f"{row.place}: {self._columns['context']}: {expected}, got {_kind(part)} in it")
            parts.append(text.strip())
        return _checked("\n\n".join(part for part in parts if part), row, self._columns["context"])

    def check_mapped(self) -> None:
        """Raise UserError for a column that the recipe names and no row has."""
        for part in sorted(self._named - self._seen):
            if self._keys:
                raise self._missing(self._table.name, part, list(self._keys))

    def _value(self, row: Row, part: str) -> Any:
        column = self._columns[part]
        self._keys.update(dict.fromkeys(row.columns))
        if column in row.values:
            self._seen.add(part)
        elif part == "question":
            raise self._missing(row.place if self._table.ragged else self._table.name, part, row.columns)
        return row.values.get(column)

    def _missing(self, place: str, part: str, there: Iterable[str]) -> UserError:
        columns = ", ".join(there) or "none"
        return UserError(
            f"{place}: no column {self._columns[part]!r}; columns here: {columns}; "
            f"columns.{part} in the recipe says which one holds the {part}"
        )


def _checked(text: str, row: Row, column: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UserError(f"{row.place}: {column}: half of a surrogate pair; expected valid Unicode text") from None
    return text


def _kind(value: object) -> str:
    return {"list": "a list", "dict": "an object", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)


def read_dataset(source: DatasetQuestions, columns: list[str]) -> Table:
    """Open a split of a dataset on the hub or in a local folder, one that `save_to_disk` wrote included.

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
        raise UserError(f"{name}: no such split") from None
    except (datasets.exceptions.DatasetsError, OSError, ValueError) as error:
        raise UserError(f"{name}: {first_line(error)}") from None
    there = list(data.column_names)
    wanted = data.select_columns([column for column in columns if column in there])

    def rows() -> Iterator[Row]:
        for number, values in enumerate(wanted, start=1):
            yield Row(f"{name}: row {number}", values, there)

    return Table(name, rows(), ragged=False)
