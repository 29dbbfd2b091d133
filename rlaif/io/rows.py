"""Rows of a JSONL, CSV or Parquet file or of a dataset, each with its location for messages.

Invariant: a file whose content does not match its ending raises `UserError` with its line; values are unchanged.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rlaif.errors import Fault, UserError, first_line, shown
from rlaif.io.renamed import Renames, warn_renamed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Row:
    """One row.

    Attributes:
        path: the file or dataset.
        values: by column.
        columns: those of the file, or of this row of a JSONL file.
        line: of the file, from 1; None for Parquet and datasets.
        number: of the row, from 1, where there is no line.
        ragged: the row has columns of its own (JSONL), so a missing one is a fault of the row, not of the file.
    """

    path: str
    values: dict[str, Any]
    columns: Sequence[str]
    line: int | None = None
    number: int | None = None
    ragged: bool = False

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


def read_file(path: str, columns: Sequence[str], renames: Renames | None = None) -> Iterator[Row]:
    """Read the rows of a file, by its ending.

    Args:
        path: local path or fsspec URL.
        columns: those wanted; Parquet leaves the others unread.
        renames: old names of columns that are still accepted.
    """
    ending = Path(path).suffix.lower()
    if ending == ".jsonl":
        rows = _jsonl_rows(path, _text(path))
    elif ending == ".csv":
        rows = _csv_rows(path, _text(path))
    elif ending == ".parquet":
        rows = _parquet_rows(path, _bytes(path), [*columns, *(renames or ())])
    else:
        raise UserError(Fault(path, f"unknown ending {ending!r}", expected="a file of .jsonl, .csv or .parquet"))
    return with_new_names(rows, renames or {})


def with_new_names(rows: Iterator[Row], renames: Renames) -> Iterator[Row]:
    """Yield the rows with the values of old columns under their new names; warn once of each old column."""
    known: set[str] = set()
    for row in rows:
        for old in row.columns:
            if old not in renames:
                continue
            renames[old].refuse_both(row.columns, Fault(row.path, line=row.line, row=row.number, field=old))
            new = renames[old].name
            if old not in known:
                known.add(old)
                warn_renamed(row.location, old, new)
            row = replace(row, values={new if name == old else name: value for name, value in row.values.items()})
        yield row


def _bytes(path: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            return bytes(file.read())
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
        yield Row(path, values, list(values), line, ragged=True)


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

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        there = list(file.schema_arrow.names)
        batches = file.iter_batches(columns=[column for column in there if column in columns])
        for number, values in enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), start=1):
            yield Row(path, values, there, number=number)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(Fault(path, f"not Parquet: {first_line(error)}")) from None
