"""Rows of a JSONL, CSV or Parquet file or of a dataset, each with its place for messages.

Invariant: a file whose content does not match its ending raises `UserError` with its line; values are unchanged.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlaif.errors import Fault, UserError, first_line, shown
from rlaif.io.renamed import warn_renamed


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        path: the file or dataset.
        values: by column.
        columns: those of the file, or of this row of a JSONL file.
        line: of the file, from 1; None for Parquet and datasets.
        number: of the row, from 1, where there is no line.
    """

    path: str
    values: dict[str, Any]
    columns: Sequence[str]
    line: int | None = None
    number: int | None = None

    @property
    def place(self) -> str:
        """The path with the line or row, such as `questions.csv:7`."""
        return Fault(self.path, line=self.line, row=self.number).place

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

    def checked(self, field: str, value: object) -> str:
        """Return a value of a field if it is valid text, else raise UserError."""
        if not isinstance(value, str):
            raise self.error(field, expected="a text", found=shown(value))
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.error(field, "half of a surrogate pair", expected="valid Unicode text") from None
        return value


@dataclass(slots=True)
class UniqueIds:
    """The ids of a file's rows, each of which may occur once."""

    _places: dict[str, str]

    def __init__(self) -> None:
        self._places = {}

    def add(self, row: Row, name: str) -> None:
        """Record an id, or raise UserError with both rows that have it."""
        if name in self._places:
            raise row.error("id", f"{name!r} is also that of {self._places[name]}", expected="ids that differ")
        self._places[name] = row.place


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one source.

    Attributes:
        name: of the file or dataset, for messages.
        rows: read lazily.
        ragged: each row has its own columns (JSONL), so a missing column is a fault of the row, not of the file.
    """

    name: str
    rows: Iterator[Row]
    ragged: bool


def read_file(path: str, columns: Sequence[str], renamed: Mapping[str, str] | None = None) -> Table:
    """Open a file of rows by its ending.

    Args:
        path: local path or fsspec URL.
        columns: those wanted; Parquet leaves the others unread.
        renamed: new names of columns by old ones that are still accepted.

    Raises:
        UserError: the ending is unknown, or the file does not exist or cannot be read; later, from `rows`, a row is
            malformed.
    """
    ending = Path(path).suffix.lower()
    if ending == ".jsonl":
        rows = _jsonl_rows(path, _text(path))
    elif ending == ".csv":
        rows = _csv_rows(path, _text(path))
    elif ending == ".parquet":
        rows = _parquet_rows(path, _bytes(path), [*columns, *(renamed or ())])
    else:
        raise UserError(Fault(path, f"unknown ending {ending!r}", expected="a file of .jsonl, .csv or .parquet"))
    return Table(path, with_new_names(rows, renamed or {}), ragged=ending == ".jsonl")


def with_new_names(rows: Iterator[Row], renamed: Mapping[str, str]) -> Iterator[Row]:
    """Yield the rows with the values of old columns under their new names; warn once of each old column."""
    known: set[str] = set()
    for row in rows:
        for old in row.columns if renamed else ():
            if old not in renamed:
                continue
            new = renamed[old]
            if new in row.columns:
                raise row.error(old, f"is the old name of {new}, which is given too", expected="one of the two")
            if old not in known:
                known.add(old)
                warn_renamed(row.place, old, new)
            row = replace(row, values={new if name == old else name: value for name, value in row.values.items()})
        yield row


def _bytes(path: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read()
            return data
    except FileNotFoundError:
        raise UserError(Fault(path, "no such file")) from None
    except (OSError, ValueError, ImportError) as error:
        raise UserError(Fault(path, f"cannot be read: {first_line(error)}")) from None


def _text(path: str) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(Fault(path, "not UTF-8", line, expected="text in UTF-8")) from None


def _jsonl_rows(path: str, text: str) -> Iterator[Row]:
    # Only "\n" ends a line of JSONL: str.splitlines would also break strings at U+2028.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise UserError(Fault(path, f"not JSON: {first_line(error)}", line)) from None
        if not isinstance(values, dict):
            raise UserError(Fault(path, "", line, expected="a JSON object", found=type(values).__name__))
        yield Row(path, values, list(values), line)


def _csv_rows(path: str, text: str) -> Iterator[Row]:
    # A filing's page can be longer than the module's default limit of 128 KiB a field.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(Fault(path, f"not CSV: {error}", line)) from None
        if not fields:
            continue
        if header is None:
            header = [name.strip() for name in fields]
            if repeated := sorted({name for name in header if header.count(name) > 1}):
                raise UserError(Fault(path, f"two columns named {repeated[0]!r}", line, expected="each name once"))
            continue
        if len(fields) != len(header):
            expected = f"{len(header)}, as in the first line"
            raise UserError(Fault(path, f"{len(fields)} fields", line, expected=expected))
        yield Row(path, dict(zip(header, fields, strict=True)), header, line)


def _parquet_rows(path: str, data: bytes, columns: Sequence[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        there = list(file.schema_arrow.names)
        for batch in file.iter_batches(columns=[column for column in there if column in columns]):
            for values in batch.to_pylist():
                number += 1
                yield Row(path, values, there, number=number)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(Fault(path, f"not Parquet: {first_line(error)}")) from None
