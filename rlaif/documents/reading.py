"""Reads one document, whatever its format: PDF, HTML, plain text or Markdown, told by its content.

Invariant: what cannot be read whole raises `UserError` with one fault, which names the document; the same bytes give
the same document on every machine.
"""

import hashlib
from pathlib import Path

from rlaif.documents.document import Document, Page
from rlaif.documents.faults import UnreadableError
from rlaif.documents.html import is_html, read_html
from rlaif.documents.limits import Limits
from rlaif.documents.names import document_name
from rlaif.documents.pdf import read_pdf
from rlaif.documents.plain import read_plain
from rlaif.documents.submission import is_submission, read_submission
from rlaif.errors import Fault, UserError

READER = "3"
"""Version of the reader. It is raised whenever the same bytes give another document, and with it all chunks' ids."""

ENDINGS = (".pdf", ".htm", ".html", ".xhtml", ".txt", ".md", ".markdown")
"""Endings of files that are read of a folder."""

_SIGNATURES = {
    b"PK\x03\x04": "a zip archive or an Office file",
    b"\xd0\xcf\x11\xe0": "an old Office file",
    b"\x1f\x8b": "content compressed by gzip",
    b"BZh": "content compressed by bzip2",
    b"\xfd7zXZ": "content compressed by xz",
    b"\x28\xb5\x2f\xfd": "content compressed by zstd",
    b"PAR1": "Parquet",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"GIF8": "an image",
    b"II*\0": "an image",
    b"MM\0*": "an image",
    b"{\\rtf": "RTF",
    b"%!PS": "PostScript",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file",
}
_EXPECTED = "a PDF, HTML, text or Markdown"
_PDF_WITHIN = 1024
"""Bytes within which a PDF begins, as readers take it."""


def read_document(source: bytes | str | Path, name: str = "", limits: Limits | None = None) -> Document:
    """Return the document of bytes or of a file.

    It is read in this process; `rlaif.documents.reader_process` does so in one of its own, with limits of time and
    memory, as documents of others need.

    Args:
        name: how people and questions call it; "" takes the file's name without its ending.
    """
    limits = limits or Limits()
    if isinstance(source, bytes):
        data, path = source, name or "document"
    else:
        path = str(source)
        data = _content(Path(source), limits.bytes)
    try:
        pages = _pages(data, limits)
    except UnreadableError as error:
        raise UserError(Fault(path, error.problem, expected=error.expected)) from None
    return Document(name or document_name(path), sha256_of(data), READER, pages)


def sha256_of(data: bytes) -> str:
    """Return the hash that names a document's bytes."""
    return hashlib.sha256(data).hexdigest()


def too_large(size: int, most: int) -> str:
    """Return what people are told of a document that is too large."""
    return f"has {size:,} bytes, and at most {most:,} are read"


def _content(path: Path, most: int) -> bytes:
    try:
        # A device or a pipe may never end.
        if path.exists() and not path.is_file():
            raise UserError(Fault(str(path), "is no file"))
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise UserError(Fault(str(path), error.strerror or "cannot be read")) from None
    if len(data) > most:
        raise UserError(Fault(str(path), too_large(path.stat().st_size, most)))
    return data


def _pages(data: bytes, limits: Limits) -> tuple[Page, ...]:
    if len(data) > limits.bytes:
        raise UnreadableError(too_large(len(data), limits.bytes))
    if not data:
        raise UnreadableError("is empty")
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return read_pdf(data, limits)
    for signature, what in _SIGNATURES.items():
        if data.startswith(signature):
            raise UnreadableError(f"holds {what}", _EXPECTED)
    if is_submission(data):
        return read_submission(data, limits)
    return read_html(data, limits) if is_html(data) else read_plain(data, limits)
