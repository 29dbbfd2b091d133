"""One row of a file or a dataset, with its location for messages.

Invariant: a value is returned as its file holds it, or a `UserError` names the file, the row and the column.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from rlaif.errors import Fault, UserError, shown

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        path: the file or dataset.
        values: by column.
        columns: those of the file, or of this row of a JSONL file.
        line: of the file, from 1; None for Parquet and datasets.
        number: of the row, from 1, where the line alone does not say which it is.
        ragged: the row has columns of its own (JSON), so a missing one is a fault of the row, not of the file.
        all_text: the file holds only text (CSV), so a list or an object in it is JSON.
    """

    path: str
    values: dict[str, Any]
    columns: Sequence[str]
    line: int | None = None
    number: int | None = None
    ragged: bool = False
    all_text: bool = False

    @property
    def location(self) -> str:
        """The path with the line or row, such as `questions.csv:7`."""
        return Fault(self.path, line=self.line, row=self.number).location

    @property
    def shown_columns(self) -> str:
        """The columns for a message."""
        return ", ".join(self.columns) or "none"

    def error(self, field: str, problem: str = "", expected: str = "", found: str = "") -> UserError:
        """Return the error of a field, or of the row if `field` is ""."""
        return UserError(Fault(self.path, problem, self.line, self.number, field, expected, found))

    def text(self, column: str, *, blank: bool = False) -> str:
        """Return the text in a column; raise UserError if it is missing, not a text or, without `blank`, blank."""
        if column not in self.values:
            raise self.error(column, f"missing; fields here: {self.shown_columns}")
        text = self.checked(column, self.values[column])
        if not (blank or text.strip()):
            raise self.error(column, "empty", expected="a text")
        return text

    def optional(self, column: str) -> str | None:
        """Return the text in a column, or None where it is missing, null or "": CSV has no null."""
        value = self.values.get(column)
        return None if value in (None, "") else self.checked(column, value)

    def read(self, column: str, reader: Callable[[object], T]) -> T:
        """Return what a reader makes of the value in a column, None if it is missing.

        Raises:
            UserError: the reader raised ValueError; the error names the file, the row, the column and the value.
        """
        value = self.values.get(column)
        try:
            return reader(value)
        except ValueError as error:
            raise self.error(column, str(error), found=shown(value)) from None

    def checked(self, field: str, value: object) -> str:
        """Return a value of a field if it is valid text, else raise UserError."""
        if not isinstance(value, str):
            raise self.error(field, expected="a text", found=shown(value))
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.error(field, "half of a surrogate pair", expected="valid Unicode text") from None
        return value


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
