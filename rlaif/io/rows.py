"""Rows of a JSONL, CSV or Parquet file or of a dataset, each with the place that a message about it names.

Invariant: a file that is not what its ending says raises `UserError` with its line; values come as the file has them.
"""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlaif.errors import UserError, first_line


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its values by column, the columns that are there, and its place (`questions.csv:7`)."""

    place: str
    values: dict[str, Any]
    columns: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one source.

    Attributes:
        name: of the file or dataset, for messages.
        rows: read as they are asked for.
        ragged: each row has columns of its own (JSONL), so a missing one is that row's fault.
    """

    name: str
    rows: Iterator[Row]
    ragged: bool


def read_file(path: str, columns: list[str]) -> Table:
    """Open a file of questions by its ending.

    Args:
        path: local path or fsspec URL.
        columns: those wanted, where the format can leave others unread.

    Raises:
        UserError: the ending is unknown, or there is no such file, or it cannot be read; later, from `rows`, a row is
            not what the format asks for.
    """
    ending = Path(path).suffix.lower()
    if ending == ".jsonl":
        return Table(path, _jsonl_rows(path, _text(path)), ragged=True)
    if ending == ".csv":
        return Table(path, _csv_rows(path, _text(path)), ragged=False)
    if ending == ".parquet":
        return Table(path, _parquet_rows(path, _bytes(path), columns), ragged=False)
    raise UserError(f"{path}: unknown ending {ending!r}; expected a file of .jsonl, .csv or .parquet")


def _bytes(path: str) -> bytes:
    import fsspec

    try:
        with fsspec.open(path, "rb") as file:
            data: bytes = file.read()
            return data
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError, ImportError) as error:
        raise UserError(f"{path}: cannot be read: {first_line(error)}") from None


def _text(path: str) -> str:
    data = _bytes(path)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}:{line}: not UTF-8; expected text in UTF-8") from None


def _jsonl_rows(path: str, text: str) -> Iterator[Row]:
    # Only "\n" ends a line of JSONL: str.splitlines would also break strings at U+2028.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{place}: not JSON: {first_line(error)}") from None
        if not isinstance(values, dict):
            raise UserError(f"{place}: expected a JSON object with a question, got {type(values).__name__}")
        yield Row(place, values, list(values))


def _csv_rows(path: str, text: str) -> Iterator[Row]:
    # A filing's page can be longer than the module's default limit of 128 KiB a field.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    while True:
        place = f"{path}:{reader.line_num + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(f"{place}: not CSV: {error}") from None
        if not fields:
            continue
        if header is None:
            header = [name.strip() for name in fields]
            if twice := sorted({name for name in header if header.count(name) > 1}):
                raise UserError(f"{place}: two columns named {twice[0]!r}; expected each name once")
            continue
        if len(fields) != len(header):
            raise UserError(f"{place}: {len(fields)} fields; expected {len(header)}, as in the first line")
        yield Row(place, dict(zip(header, fields, strict=True)), header)


def _parquet_rows(path: str, data: bytes, columns: list[str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        there = list(file.schema_arrow.names)
        for batch in file.iter_batches(columns=[column for column in columns if column in there]):
            for values in batch.to_pylist():
                number += 1
                yield Row(f"{path}: row {number}", values, there)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not Parquet: {first_line(error)}") from None
