"""Reads plain text and Markdown: paragraphs, headings and tables with "|" between cells.

A form feed ends a page.
Invariant: each line is in a block, word for word; a table whose heads are not clear stays text.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from rlaif.documents.around_tables import with_context
from rlaif.documents.document import Block, Page, Text
from rlaif.documents.faults import UnreadableError
from rlaif.documents.figures import is_unit
from rlaif.documents.limits import Limits
from rlaif.documents.monospaced import has_marks, monospaced_pages
from rlaif.documents.tables import pipe_table
from rlaif.io.content import BYTE_ORDER_MARKS

_HEADING = re.compile(r"\s{0,3}#{1,6}\s+(.*?)(?:\s+#+)?\s*")
_UNDERLINE = re.compile(r"\s*(?:={3,}|-{3,})\s*")
_ITEM = re.compile(r"\s*(?:[-*+•]|\(?[0-9a-z]{1,3}[.)])\s+\S")


def read_plain(data: bytes, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of a text; raises UnreadableError if it is no text, or too long."""
    text = decoded(data)
    if len(text) > limits.characters:
        raise UnreadableError(f"holds {len(text):,} characters", f"at most {limits.characters:,}")
    if not text.strip():
        raise UnreadableError("is empty")
    if has_marks(text):
        return monospaced_pages(text, limits)
    pages = text.split("\f")
    if len(pages) > limits.pages:
        raise UnreadableError(f"has {len(pages):,} pages", f"at most {limits.pages:,}")
    blocks = (with_context(list(_blocks(page.splitlines()))) for page in pages)
    return tuple(Page(number, tuple(found)) for number, found in enumerate(blocks, start=1))


def decoded(data: bytes) -> str:
    """Return the text of bytes in UTF-8, or in what their byte order mark says; raises UnreadableError."""
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeError:
        raise UnreadableError("is no text in UTF-8", "a PDF, HTML, or text in UTF-8") from None
    if "\0" in text:
        raise UnreadableError("is no text", "a PDF, HTML, or text in UTF-8")
    return text


def _blocks(lines: Sequence[str]) -> Iterator[Block]:
    for kind, group in groupby(lines, _kind):
        if kind == "empty":
            continue
        part = list(group)
        if kind == "text":
            yield from _texts(part)
            continue
        table = pipe_table([line.strip() if line.strip().startswith("|") else line for line in part])
        if table is None:
            yield from (Text(line.strip()) for line in part)
        else:
            yield replace(table, title="", unit=table.title) if is_unit(table.title) else table


def _kind(line: str) -> str:
    return "table" if "|" in line else "text" if line.strip() else "empty"


def _texts(lines: Sequence[str]) -> Iterator[Text]:
    """Yield the paragraphs and headings of lines without an empty one between them."""
    open_: list[str] = []
    for line in lines:
        heading = _HEADING.fullmatch(line)
        if _UNDERLINE.fullmatch(line) and len(open_) == 1:
            yield Text(open_[0], heading=True)
            open_ = []
            continue
        if open_ and (heading or _ITEM.match(line)):
            yield Text(" ".join(open_))
            open_ = []
        if heading:
            if heading[1]:
                yield Text(heading[1], heading=True)
        else:
            open_.append(line.strip())
    if open_:
        yield Text(" ".join(open_))
