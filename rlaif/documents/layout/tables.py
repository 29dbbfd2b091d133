"""Tables of a page: rows of figures below their heads, with the footnotes below them.

A table is a run of lines with figures in common columns, and the lines of heads, unit and title above it.
Invariant: a line is in one table or in none.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.documents.document import Table, TableRow
from rlaif.documents.figures import NOTE, PAGE_NUMBER
from rlaif.documents.layout.above import read_above
from rlaif.documents.layout.head_rules import Column
from rlaif.documents.layout.lines import Line
from rlaif.documents.layout.rows import LEADER, body_of, cells_of, columns_of, figures_left, rows_of
from rlaif.documents.layout.words import Rule

_NOTE_GAP = 5.0
"""Gap above a footnote, in heights of its line."""


@dataclass(slots=True)
class Found:
    """A table on a page.

    Attributes:
        lines: numbers of its lines, from those of its titles to its notes.
        columns: of its figures.
        headed: whether it has heads of its own.
    """

    lines: range
    columns: list[Column]
    titles: list[str] = field(default_factory=list)
    unit: str = ""
    heads: list[str] = field(default_factory=list)
    rows: list[TableRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def headed(self) -> bool:
        return any(self.heads)

    def table(self) -> Table:
        return Table(", ".join(self.titles), self.unit, tuple(self.heads), tuple(self.rows), tuple(self.notes))


def find_tables(lines: Sequence[Line], rules: Sequence[Rule], width: float) -> list[Found]:
    """Return the tables among the lines of a page of some width, from the top down."""
    found: list[Found] = []
    free = 0
    number = 0
    while number < len(lines):
        if not lines[number].is_row:
            number += 1
            continue
        body = body_of(lines, number)
        table = _table(lines, rules, body, free, width / 2)
        number = body.stop
        if table is not None:
            found.append(table)
            free = number = table.lines.stop
    return found


def _table(lines: Sequence[Line], rules: Sequence[Rule], body: range, free: int, middle: float) -> Found | None:
    """Return the table with these rows, or None if they are no table.

    Args:
        free: the first line that is in no table before it.
        middle: of the page's width.
    """
    rows = [lines[number] for number in body if lines[number].is_row]
    left = min(map(figures_left, rows))
    columns = columns_of(rows, left)
    if not columns or _is_contents(rows, left):
        return None
    above = read_above(lines, rules, body, columns, free=free, middle=middle)
    if len(rows) < 2 and not (len(columns) > 1 and all(above.heads)):
        return None
    if len(columns) == 1 and not any(above.heads) and not above.unit and len(rows) < 3:
        return None
    table_rows = rows_of([lines[number] for number in [*above.labels, *body]], columns)
    found = Found(body, columns, above.titles, above.unit, above.heads, table_rows)
    found.lines = range(above.top, _notes(lines, found, body.stop))
    return found


def _is_contents(rows: Sequence[Line], left: float) -> bool:
    """Whether rows are those of a table of contents: one growing page number each."""
    cells = [cells_of(row, left) for row in rows]
    if any(len(found) != 1 or not PAGE_NUMBER.fullmatch(found[0].text) for found in cells):
        return False
    if any(LEADER.search(segment.text) for row in rows for segment in row.segments):
        return True
    numbers = [int(found[0].text.rsplit("-", 1)[-1]) for found in cells]
    return len(rows) > 2 and all(a <= b for a, b in itertools.pairwise(numbers))


def _notes(lines: Sequence[Line], found: Found, start: int) -> int:
    """Read the footnotes right below a table into it; return the line after them."""
    number = start
    while number < len(lines):
        line, above = lines[number], lines[number - 1]
        gap = (line.y0 - above.y1) / max(line.height, 4)
        if (line.is_row and not NOTE.match(line.text)) or gap > _NOTE_GAP or line.y0 < above.y0 - 2:
            break
        if NOTE.match(line.text):
            found.notes.append(line.text)
        elif found.notes and gap < 0.8:
            found.notes[-1] += f" {line.text}"
        else:
            break
        number += 1
    return number
