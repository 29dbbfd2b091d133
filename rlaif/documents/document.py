"""A document as it was read: pages of text and tables, in reading order.

Invariant: a table's row keeps its label and all of its cells, each under the heads of its column.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Running text.

    Attributes:
        heading: whether it is the heading of what follows.
    """

    text: str
    heading: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row of a table.

    Attributes:
        cells: one for each head of the table; "" where the row has none.
    """

    label: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        title: what names it, above its heads; "" if nothing does.
        unit: unit and scale of its figures, as written: `(in millions, except per share data)`.
        heads: of each column of cells, from the top line of heads to the lowest: `13 Weeks Ended January 28, 2023`.
        notes: footnotes below it.
    """

    title: str
    unit: str
    heads: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()


Block = Text | Table


@dataclass(frozen=True, slots=True)
class Page:
    """A page, or a whole file of a format without pages.

    Attributes:
        number: from 1.
    """

    number: int
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A document.

    Attributes:
        name: how people and questions call it, such as `3M_2018_10K`.
        sha256: of its bytes.
        reader: version of the reader, part of the ids of all that is made from it.
    """

    name: str
    sha256: str
    reader: str
    pages: tuple[Page, ...]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a page that is searched and shown as a whole.

    Attributes:
        id: hash of the reader, the document's sha256, the page and the text; the same on every machine.
        document: the document's name.
        sha256: of the document's bytes.
        page: its number, from 1.
        place: number of the chunk on its page, from 0.
        text: what searchers, policies and judges are shown: the document's name, then the table's title, unit and rows,
            each cell with its heads, or the prose below its heading.
    """

    id: str
    document: str
    sha256: str
    page: int
    place: int
    text: str
