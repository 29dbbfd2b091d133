"""One row of a file or a dataset, with its location for messages.

Invariant: a value is returned as its file holds it, or a `UserError` names the file, the row and the column.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from rlaif.errors import Fault, UserError, shown
from rlaif.io.column_names import ANY_NAMES, ColumnNames
from rlaif.io.values import decoded_cell, is_missing, plain_text

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        path: the file or dataset.
        values: by field, which is a column where no reader says otherwise.
        columns: those of the file, or of this row of a JSONL file.
        line: of the file, from 1; None for Parquet and datasets.
        number: of the row, from 1, where the line alone does not say which it is.
        ragged: the row has columns of its own (JSON), so a missing one is a fault of the row, not of the file.
        all_text: the file holds only text (CSV), so a list or an object in it is JSON.
        by_field: the column of each field.
        names: the columns that a person names.
    """

    path: str
    values: dict[str, Any]
    columns: Sequence[str]
    line: int | None = None
    number: int | None = None
    ragged: bool = False
    all_text: bool = False
    by_field: Mapping[str, str] = field(default_factory=dict)
    names: ColumnNames = ANY_NAMES

    @property
    def location(self) -> str:
        """The path with the line or row, such as `questions.csv:7`."""
        return Fault(self.path, line=self.line, row=self.number).location

    @property
    def shown_columns(self) -> str:
        """The columns for a message."""
        return ", ".join(self.columns) or "none"

    def error(self, field: str, problem: str = "", expected: str = "", found: str = "") -> UserError:
        """Return the error of a field, named by its column, or of the row if `field` is ""."""
        column = self.by_field.get(field, field)
        return UserError(Fault(self.path, problem, self.line, self.number, column, expected, found))

    def missing(self, field: str) -> UserError:
        """Return the error of a field that has no column."""
        column = self.names.by_field.get(field) or field
        problem = f"no column {column!r}; columns here: {self.shown_columns}; {self.names.names(field)}"
        return UserError(Fault(self.path, problem, self.line if self.ragged else None))

    def text(self, field: str, *, blank: bool = False) -> str:
        """Return a field as text; raise UserError if it is missing, another value or, without `blank`, blank."""
        if field not in self.values:
            raise self.missing(field)
        text = self.checked(field, self.values[field])
        if not (blank or text.strip()):
            raise self.error(field, "empty", expected="a text")
        return text

    def optional(self, field: str) -> str | None:
        """Return a field as text, or None where it is missing, null, NaN or "": CSV has no null."""
        value = self.values.get(field)
        return None if is_missing(value) else self.checked(field, value)

    def id(self, field: str = "id") -> str | None:
        """Return an id as text, without spaces around it, or None; 12.0 is 12, as a column with a null holds it."""
        value = self.values.get(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return (None if is_missing(value) else self.checked(field, value).strip()) or None

    def as_number(self, field: str) -> float | None:
        """Return a field as a finite number; None where there is none."""
        value = self.values.get(field)
        if is_missing(value):
            return None
        try:
            # To Python true is 1, but in a file it is no number.
            found = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # others raise
        except (TypeError, ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            raise self.error(field, expected="a number", found=shown(value))
        return found

    def read(self, field: str, reader: Callable[[object], T]) -> T:
        """Return what a reader makes of a field, which may be a list or an object; None stands for a missing one.

        In a file that holds only text, a cell with a list or an object as JSON is decoded if the reader takes it so,
        or if it is a list with a text, which nobody writes as a text.

        Raises:
            UserError: the reader raised ValueError; the error names the file, the row, the column and the value.
        """
        value = self.values.get(field)
        if is_missing(value):
            value = None
        try:
            decoded = decoded_cell(value) if self.all_text and isinstance(value, str) else value
            if isinstance(decoded, list) and any(isinstance(item, str) for item in decoded):
                return reader(decoded)
            if decoded is not value:
                with suppress(ValueError):
                    return reader(decoded)
            return reader(value)
        except ValueError as error:
            raise self.error(field, str(error), found=shown(value)) from None

    def checked(self, field: str, value: object) -> str:
        """Return a value of a field as text, else raise UserError: a number or a date is what `plain_text` says."""
        try:
            return plain_text(value)
        except ValueError as error:
            raise self.error(field, str(error), found="" if isinstance(value, str) else shown(value)) from None


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


R = TypeVar("R", bound=_HasId)


def with_unique_ids(records: Iterable[tuple[Row, R]], path: str, things: str) -> list[R]:
    """Return what rows hold; raise UserError if two have the same id, or if there are none of these things."""
    found: list[R] = []
    locations: dict[str, str] = {}
    for row, record in records:
        if record.id in locations:
            raise row.error("id", f"{record.id!r} is also that of {locations[record.id]}", expected="ids that differ")
        locations[record.id] = row.location
        found.append(record)
    if not found:
        raise UserError(Fault(path, f"no {things}", expected="at least one"))
    return found
