"""Documents as JSON, as they pass between processes and lie in the cache.

Invariant: a document that is written and read again is equal.
"""

import json
from typing import Any

from rlaif.documents.document import Block, Document, Page, Table, TableRow, Text


def to_json(document: Document) -> bytes:
    """Return a document as JSON in ASCII."""
    pages = [[page.number, [_block(block) for block in page.blocks]] for page in document.pages]
    head = {"name": document.name, "sha256": document.sha256, "reader": document.reader}
    return json.dumps({**head, "pages": pages}, separators=(",", ":")).encode("ascii")


def from_json(data: bytes) -> Document:
    """Return the document in JSON; raises ValueError, TypeError or KeyError if it holds no document."""
    tree = json.loads(data)
    pages = tuple(Page(int(number), tuple(_read_block(block) for block in blocks)) for number, blocks in tree["pages"])
    return Document(str(tree["name"]), str(tree["sha256"]), str(tree["reader"]), pages)


def _block(block: Block) -> list[Any]:
    if isinstance(block, Text):
        return [block.text, block.heading]
    rows = [[row.label, *row.cells] for row in block.rows]
    return [block.title, block.unit, list(block.heads), rows, list(block.notes)]


def _read_block(tree: list[Any]) -> Block:
    if len(tree) == 2:
        return Text(str(tree[0]), bool(tree[1]))
    title, unit, heads, rows, notes = tree
    made = tuple(TableRow(str(label), tuple(map(str, cells))) for label, *cells in rows)
    return Table(str(title), str(unit), tuple(map(str, heads)), made, tuple(map(str, notes)))
