"""Moves the text around a table into it: the unit and the title above, the footnotes below.

Invariant: no text is lost; a unit and footnotes move into the table, and a title stays a heading too.
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from rlaif.documents.document import Block, Table, TableRow, Text
from rlaif.documents.figures import NOTE, is_unit_alone, unit_within

_LONGEST_NOTE = 1_000
_LINES, _SHORT = 3, 60
"""Lines above a table among which its unit is, and characters that lines below the unit have at most."""
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
        # "(in millions)" may be above or below "(unaudited)".
        for place in range(len(blocks) - 1, max(-1, len(blocks) - 1 - _LINES), -1):
            above = blocks[place]
            if isinstance(above, Text) and is_unit_alone(above.text) and not above.text.endswith(":"):
                del blocks[place]
                unit = " ".join(dict.fromkeys(filter(None, (above.text, unit))))
                break
            if not isinstance(above, Text) or len(above.text) > _SHORT or above.text.endswith((".", ":")):
                break
        last = blocks[-1] if blocks else None
        if not title and isinstance(last, Text) and (last.heading or last.text.endswith(":")):
            title = last.text if last.heading else _SENTENCE.split(last.text)[-1]
        blocks.append(replace(block, unit=unit or unit_within(title), title=title))
    return blocks


def continued(pages: Sequence[list[Block]]) -> list[list[Block]]:
    """Give a table without heads those of the one right before it, on its page or the one before, if it goes on."""
    last: Block | None = None
    for page in pages:
        for place, block in enumerate(page):
            if isinstance(last, Table) and isinstance(block, Table) and _goes_on(last, block):
                # What named the part is the section of its rows.
                part = (TableRow(block.title, ("",) * len(last.heads)),) if block.title else ()
                page[place] = Table(last.title, block.unit or last.unit, last.heads, (*part, *block.rows), block.notes)
            last = page[place]
    return list(pages)


def _goes_on(above: Table, table: Table) -> bool:
    return not any(table.heads) and any(above.heads) and len(table.heads) == len(above.heads) and not above.notes
