"""Reads a PDF: pages of text and tables, without page numbers and running heads.

Invariant: a file that cannot be read whole raises `UnreadableError`; nothing of it is returned in part.
"""

import re
from collections.abc import Iterator

import pypdfium2 as pdfium

from rlaif.documents.document import Page
from rlaif.documents.faults import UnreadableError
from rlaif.documents.layout.lines import lines_of
from rlaif.documents.layout.pages import RawPage, pages_of
from rlaif.documents.limits import Limits
from rlaif.documents.pdf_streams import refuse_damaged
from rlaif.documents.pdf_words import read_page

_BEGINNING, _END = 2048, 4096
"""Bytes at a file's ends that hold its length, if it is made to be read in parts, and the mark of its end."""
_LENGTH = re.compile(rb"/Linearized\b[^>]{0,200}/L\s+(\d{1,12})")


def read_pdf(data: bytes, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of a PDF; raises UnreadableError if it is no PDF, encrypted, damaged, scanned or too long."""
    raw = list(_raw_pages(data, limits))
    if not any(page.lines for page in raw):
        raise UnreadableError("has no text: its pages may be images", "text that can be selected, as after OCR")
    return pages_of(raw)


def _refuse_cut(data: bytes) -> None:
    """Raise UnreadableError if a file ends before its end: what pdfium repairs of it lacks pages and says nothing."""
    length = _LENGTH.search(data[:_BEGINNING])
    if b"%%EOF" not in data[-_END:] or (length is not None and int(length[1]) > len(data)):
        raise UnreadableError("is cut: its end is missing")


def _raw_pages(data: bytes, limits: Limits) -> Iterator[RawPage]:
    _refuse_cut(data)
    refuse_damaged(data)
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        if "password" in str(error).lower():
            raise UnreadableError("is encrypted with a password", "a PDF that opens without one") from None
        raise UnreadableError("is no whole PDF: it may be cut or damaged") from None
    try:
        count = len(document)
        if count == 0:
            raise UnreadableError("has no pages")
        if count > limits.pages:
            raise UnreadableError(f"has {count:,} pages", f"at most {limits.pages:,}")
        characters = 0
        for number in range(count):
            try:
                page = document[number]
            except pdfium.PdfiumError:
                raise UnreadableError(f"page {number + 1} cannot be read: the file may be cut or damaged") from None
            try:
                read = read_page(page)
            except pdfium.PdfiumError:
                raise UnreadableError(f"page {number + 1} cannot be read: the file may be damaged") from None
            except UnreadableError as error:
                raise UnreadableError(f"page {number + 1} {error.problem}", error.expected) from None
            finally:
                page.close()
            characters += sum(len(word.text) for word in read.words)
            if characters > limits.characters:
                raise UnreadableError(f"holds more than {limits.characters:,} characters")
            yield RawPage(lines_of(read), read.rules, read.width, read.height)
    finally:
        document.close()
