"""The content of a file that people bring: decompressed by its name's ending, and decoded by its byte order mark.

Invariant: content is read by pieces and never guessed. Content that cannot be what the name says raises `UserError`,
which names what it is.
"""

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

from rlaif.errors import Fault, UserError, first_line


def _zstd(file: Any) -> Any:
    import pyarrow as pa

    return pa.CompressedInputStream(file, "zstd")


COMPRESSED: Mapping[str, Callable[[Any], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": _zstd,
}
"""Endings of compressed files, and what opens them."""

BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The marks with which a text may begin, and the encoding that each says."""
_SIGNATURES = {
    b"PAR1": "Parquet",
    b"PK\x03\x04": "an Excel workbook or a zip archive",
    b"\xd0\xcf\x11\xe0": "an Excel workbook",
    b"\x1f\x8b": "content compressed by gzip",
    b"BZh": "content compressed by bzip2",
    b"\xfd7zXZ": "content compressed by xz",
    b"\x28\xb5\x2f\xfd": "content compressed by zstd",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file: `git lfs pull` fetches it",
}
_PEEKED = 64
_BUFFER = 1 << 20


@contextmanager
def opened(path: str, compression: str) -> Iterator[IO[bytes]]:
    """Open a file, decompressed if its ending is among `COMPRESSED`; read errors in the block become `UserError`.

    Args:
        path: local path or fsspec URL.
        compression: the ending, or "".
    """
    import fsspec

    try:
        found = fsspec.open(path, "rb")
    except (ValueError, ImportError) as error:
        raise UserError(Fault(path, f"cannot be read: {first_line(error)}")) from None
    try:
        with found as raw:
            yield io.BufferedReader(COMPRESSED[compression](raw) if compression else raw, _BUFFER)
    except FileNotFoundError as error:
        raise UserError(Fault(path, _why_missing(error))) from None
    except PermissionError:
        raise UserError(Fault(path, "permission denied")) from None
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(Fault(path, f"cannot be read: {first_line(error)}")) from None


def _why_missing(error: FileNotFoundError) -> str:
    """Return what keeps a file from being read: fsspec calls every answer of a web server but the good one missing."""
    status = getattr(error.__cause__, "status", None)
    if status in (401, 403):
        return f"permission denied (HTTP {status})"
    return "no such file" if status in (None, 404, 410) else f"cannot be read: HTTP {status}"


def refuse_other(path: str, file: Any, expected: str, starts: bytes = b"") -> None:
    """Raise UserError if content begins as another known format does, or, with `starts`, otherwise than it must."""
    head = file.peek(_PEEKED)[:_PEEKED]
    if starts and head.startswith(starts):
        return
    found = next((what for signature, what in _SIGNATURES.items() if head.startswith(signature)), None)
    if found is None and head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        found = "a page of HTML or XML"
    if found is not None or starts:
        raise UserError(Fault(path, f"holds {found or 'something else'}", expected=f"{expected}, as its name says"))


def text_lines(path: str, file: Any) -> Iterator[str]:
    r"""Yield the lines of a text with their ends. Only "\n" ends a line: U+2028 may be part of a value."""
    head = file.peek(4)
    for mark, encoding in BYTE_ORDER_MARKS:
        if head.startswith(mark) and encoding != "utf-8-sig":
            try:
                yield from io.TextIOWrapper(file, encoding, newline="\n")
            except UnicodeError as error:
                raise UserError(Fault(path, f"not {encoding.upper()}: {first_line(error)}")) from None
            return
    if head.startswith(codecs.BOM_UTF8):
        file.read(len(codecs.BOM_UTF8))
    for number, line in enumerate(file, start=1):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            text = "\0"
        # UTF-16 without its mark decodes, with a NUL for every second character.
        if "\0" in text:
            expected = "text in UTF-8, or in UTF-16 with its byte order mark; Excel's is called CSV UTF-8"
            raise UserError(Fault(path, "not UTF-8", number, expected=expected))
        yield text
