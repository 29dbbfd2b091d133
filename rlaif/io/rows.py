"""Rows of a file, whatever its container: JSON, CSV or Parquet, also compressed.

Invariant: the same rows are read from every container; a file whose content does not match its name raises `UserError`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import IO

from rlaif.errors import Fault, UserError
from rlaif.io.content import COMPRESSED, opened
from rlaif.io.delimited_rows import delimited_rows
from rlaif.io.fields import Fields, rows_of_fields
from rlaif.io.files import is_url
from rlaif.io.json_rows import json_rows, jsonl_rows
from rlaif.io.parquet_rows import parquet_rows
from rlaif.io.renamed import Renames
from rlaif.io.row import Row, with_unique_ids

__all__ = ["CONTAINERS", "Fields", "Row", "read_file", "with_unique_ids"]

Reader = Callable[[str, IO[bytes], Sequence[str]], Iterator[Row]]

CONTAINERS: Mapping[str, tuple[str, Reader]] = {
    ".jsonl": ("one JSON object per line", jsonl_rows),
    ".ndjson": ("the same", jsonl_rows),
    ".json": (
        "an array of objects, an object with one key that holds such an array, or one object per line",
        json_rows,
    ),
    ".csv": ("fields separated by commas, semicolons or tabs: the first line shows by which", delimited_rows),
    ".tsv": ("fields separated by tabs", partial(delimited_rows, delimiter="\t")),
    ".txt": ("the same, as Excel writes it under the name Unicode text", partial(delimited_rows, delimiter="\t")),
    ".parquet": ("Parquet", parquet_rows),
}
"""What files of each ending hold, and who reads them."""
_SPREADSHEETS = (".xlsx", ".xls", ".xlsm", ".ods")


def read_file(
    path: str,
    fields: Fields | Sequence[str],
    renames: Renames | None = None,
    limit: int | None = None,
) -> Iterator[Row]:
    """Read the rows of a file, by its ending.

    Args:
        path: local path or fsspec URL.
        fields: those wanted; Parquet leaves the others unread.
        renames: old names of columns that are still accepted, if `fields` are only names.
        limit: rows to read; None reads all.
    """
    if not isinstance(fields, Fields):
        fields = Fields(fields, renames or {})
    return rows_of_fields(islice(_rows(path, fields.wanted), limit), fields)


def _rows(path: str, columns: Sequence[str]) -> Iterator[Row]:
    name = PurePosixPath(path.partition("?")[0] if is_url(path) else path)
    compression = name.suffix.lower() if name.suffix.lower() in COMPRESSED else ""
    ending = PurePosixPath(name.stem if compression else name).suffix.lower()
    if ending not in CONTAINERS:
        expected = f"a file of {', '.join(CONTAINERS)}, or one of these with {', '.join(COMPRESSED)}"
        if ending in _SPREADSHEETS:
            expected = "its sheet saved as CSV UTF-8, or as Unicode text"
        raise UserError(Fault(path, f"unknown ending {ending + compression!r}", expected=expected))
    with opened(path, compression) as file:
        yield from CONTAINERS[ending][1](path, file, columns)
