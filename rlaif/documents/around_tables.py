"""Moves the text around a table into it: the unit and the title above, the footnotes below.

Invariant: no text is lost; a unit and footnotes move into the table, and a title stays a heading too.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from rlaif.documents.document import Block, Table, Text
from rlaif.documents.figures import NOTE, is_unit, unit_within

_LONGEST_NOTE = 1_000
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def with_context(page: Sequence[Block]) -> list[Block]:
    """Give tables the unit and the title that are written above them, and the footnotes below."""
    blocks: list[Block] = []
    for block in page:
        last = blocks[-1] if blocks else None
        if isinstance(block, Text):
            if isinstance(last, Table) and NOTE.match(block.text) and len(block.text) < _LONGEST_NOTE:
                blocks[-1] = replace(last, notes=(*last.notes, block.text))
            else:
                blocks.append(block)
            continue
        unit, title = block.unit, block.title
        if isinstance(last, Text) and is_unit(last.text) and not last.text.endswith(":"):
            blocks.pop()
            unit = " ".join(filter(None, (last.text, unit)))
            last = blocks[-1] if blocks else None
        if not title and isinstance(last, Text) and (last.heading or last.text.endswith(":")):
            title = last.text if last.heading else _SENTENCE.split(last.text)[-1]
        blocks.append(replace(block, unit=unit or unit_within(title), title=title))
    return blocks
