r"""Rows of CSV and its kin: fields separated by commas, semicolons or tabs, as RFC 4180 quotes them.

Invariant: every line with a field becomes one row, with the line where it begins, or `UserError` names that line.
The first line decides the delimiter; no later line is looked at, so a text with commas never changes how it is read.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from rlaif.errors import Fault, UserError
from rlaif.io.content import refuse_other, text_lines
from rlaif.io.row import Row

_DELIMITERS = ",;\t"
_DECLARED = re.compile(r'"?sep=(.)"?\s*')


def delimited_rows(path: str, file: Any, columns: Sequence[str], delimiter: str = "") -> Iterator[Row]:
    """Read the rows below a line of column names.

    Args:
        columns: those wanted; they tell the delimiter where the first line holds several.
        delimiter: "" finds it in the first line.
    """
    refuse_other(path, file, "text in columns")
    # A lone "\r" ends a line too, as old spreadsheets write it.
    lines = chain.from_iterable(io.StringIO(line, newline="") for line in text_lines(path, file))
    skipped, head = _head(lines)
    if declared := _DECLARED.fullmatch(head):
        delimiter, skipped = declared[1], skipped + 1
        more, head = _head(lines)
        skipped += more
    if head[:1] in ("{", "["):
        raise UserError(Fault(path, "holds JSON", skipped + 1, expected="columns and their names, as its name says"))
    found = delimiter or max(_DELIMITERS, key=lambda mark: _fit(head, mark, columns))
    return _rows(path, chain(io.StringIO(head, newline=""), lines), found, skipped)


def _head(lines: Iterator[str]) -> tuple[int, str]:
    """Return the number of blank lines at the beginning, and the line of names, which a quoted name may continue."""
    skipped, head = 0, ""
    for line in lines:
        head += line
        if not head.strip("\r\n"):
            skipped, head = skipped + 1, ""
        elif head.count('"') % 2 == 0:
            break
    return skipped, head


def _fit(head: str, delimiter: str, columns: Sequence[str]) -> tuple[int, int]:
    """Return how many wanted names a delimiter finds in a line of names, and how many names."""
    names = next(csv.reader(io.StringIO(head, newline=""), delimiter=delimiter), [])
    return sum(name.strip() in columns for name in names), len(names)


def _rows(path: str, lines: Iterable[str], delimiter: str, skipped: int) -> Iterator[Row]:
    # A filing's page can be longer than the module's default limit of 128 KiB a field.
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(lines, strict=True, delimiter=delimiter)
    header: list[str] | None = None
    while True:
        line = skipped + reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise UserError(Fault(path, f"not CSV: {error}", line)) from None
        if not fields or (len(fields) > 1 and not any(fields)):
            continue  # Spreadsheets write empty lines with all their delimiters.
        if header is None:
            header = _header(path, fields, line)
        elif len(fields) != len(header):
            expected = f"{len(header)}, as in the first line"
            raise UserError(Fault(path, f"{len(fields)} fields", line, expected=expected))
        else:
            values = {name: value for name, value in zip(header, fields, strict=True) if name}
            yield Row(path, values, list(values), line, all_text=True)


def _header(path: str, fields: Sequence[str], line: int) -> list[str]:
    """Return the columns' names; one without a name, such as that of an index, is not read."""
    header = [name.strip() for name in fields]
    if repeated := sorted({name for name in header if name and header.count(name) > 1}):
        raise UserError(Fault(path, f"two columns named {repeated[0]!r}", line, expected="each name once"))
    return header
