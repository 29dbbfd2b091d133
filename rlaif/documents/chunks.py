"""Cuts a document into chunks: pieces that are searched and shown as a whole.

A table is cut between rows. Each piece repeats its title, unit and the section that it begins in, each cell has the
heads of its column, and the last row of a piece begins the next one. Prose is cut at paragraphs and sentences, below
its heading.

Invariant: each row of a table and each sentence is in a chunk whole, each chunk is of one page, and a chunk's id
depends on nothing but the reader's version, the document's bytes, the page and the text.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence

from rlaif.documents.document import Chunk, Document, Page, Table, TableRow, Text
from rlaif.documents.tables import shown_rows

WORDS = 200
"""Words of prose in a chunk, at most."""
ROWS = 14
"""Rows of a table in a chunk, at most; one of them is repeated."""
MOST_ROWS_CHARACTERS = 6_000
"""Characters of rows in a chunk, at most, unless one row alone has more."""

_SENTENCE_END = re.compile(r"(?<=[.!?;])\s+")
_ID_LENGTH = 16
_MOST_HEADINGS = 3


def chunks_of(document: Document, words: int = WORDS, rows: int = ROWS) -> list[Chunk]:
    """Return the chunks of a document, in reading order; equal texts of a page are one chunk.

    Args:
        words: of prose in a chunk, at most.
        rows: of a table in a chunk, at most, the repeated one included.
    """
    chunks: list[Chunk] = []
    heading = ""
    several = len(document.pages) > 1
    for page in document.pages:
        seen: set[str] = set()
        first = f"{document.name}, page {page.number}" if several else document.name
        pieces, heading = _pieces(page, heading, words, rows)
        for piece in pieces:
            text = f"{first}\n{piece}"
            if text not in seen:
                chunks.append(_chunk(document, page.number, len(seen), text))
                seen.add(text)
    return chunks


def _chunk(document: Document, page: int, place: int, text: str) -> Chunk:
    content = "\n".join([document.reader, document.sha256, str(page), text])
    made = hashlib.sha256(content.encode("utf-8", "backslashreplace")).hexdigest()[:_ID_LENGTH]
    return Chunk(made, document.name, document.sha256, page, place, text)


def _pieces(page: Page, heading: str, words: int, rows: int) -> tuple[list[str], str]:
    """Return the texts of a page's chunks, and the heading under which the next page begins.

    Args:
        heading: the one under which this page begins.
    """
    pieces: list[str] = []
    prose: list[str] = []
    # Headings right after each other are one, of several lines; one with nothing below it on its page is text too.
    bare = 0
    for block in page.blocks:
        if isinstance(block, Text) and block.heading:
            pieces += _prose_pieces(heading, prose, words)
            prose = []
            if bare == _MOST_HEADINGS:
                pieces.append(heading)
                bare = 0
            heading, bare = (f"{heading}\n{block.text}" if bare else block.text), bare + 1
            continue
        bare = 0
        if isinstance(block, Text):
            prose.append(block.text)
        else:
            pieces += [*_prose_pieces(heading, prose, words), *_table_pieces(block, heading, rows)]
            prose = []
    return [*pieces, *(_prose_pieces(heading, prose, words) if not bare else [heading])], heading


def _prose_pieces(heading: str, paragraphs: Sequence[str], words: int) -> Iterator[str]:
    """Yield paragraphs joined, and long ones cut, to pieces of at most so many words, each below the heading."""
    open_: list[str] = []
    count = 0
    for part in (part for paragraph in paragraphs for part in _parts(paragraph, words)):
        size = len(part.split())
        if open_ and count + size > words:
            yield "\n".join([*([heading] if heading else []), *open_])
            open_, count = [], 0
        open_.append(part)
        count += size
    if open_:
        yield "\n".join([*([heading] if heading else []), *open_])


def _parts(paragraph: str, words: int) -> Iterator[str]:
    """Yield a paragraph, or, if it has more than so many words, parts of it that end where sentences do."""
    if len(paragraph.split()) <= words:
        yield paragraph
        return
    open_: list[str] = []
    for sentence in _SENTENCE_END.split(paragraph):
        pieces = sentence.split()
        if open_ and len(open_) + len(pieces) > words:
            yield " ".join(open_)
            open_ = []
        open_ += pieces
        while len(open_) > words:
            yield " ".join(open_[:words])
            open_ = open_[words:]
    if open_:
        yield " ".join(open_)


def _table_pieces(table: Table, heading: str, rows: int) -> Iterator[str]:
    """Yield a table's pieces of at most so many rows."""
    above = [line for line in ("" if heading in table.title else heading, table.title, table.unit) if line]
    shown = shown_rows(table)
    start = 0
    while start < len(shown):
        section = _section(table.rows, start)
        repeated = [] if section is None else [shown[section]]
        end = start + 1
        size = len(shown[start])
        while end < len(shown) and end - start < rows - len(repeated):
            size += len(shown[end])
            if size > MOST_ROWS_CHARACTERS:
                break
            end += 1
        last = end == len(shown)
        yield "\n".join([*above, *repeated, *shown[start:end], *(table.notes if last else ())])
        # One row is repeated, so that each two neighbouring rows share a chunk.
        start = end if last or end - start < 2 else end - 1


def _section(rows: Sequence[TableRow], start: int) -> int | None:
    """Return the row of the section that a row is in and that is before it, or None if there is none."""
    for number in range(start, -1, -1):
        if rows[number].label and not any(rows[number].cells):
            return number if number < start else None
    return None
