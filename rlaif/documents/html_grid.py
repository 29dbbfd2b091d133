"""The grid of a table of HTML: which columns each cell takes, with signs and brackets joined to their figures.

Invariant: the text of each cell is in the grid, in its row; a label that reaches into rows below is in each of them.
"""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlaif.documents.faults import UnreadableError
from rlaif.documents.figures import is_figure, is_nil

MOST_CELLS = 2_000_000
"""Places of a table's grid; no table that people read has as many."""
_WIDEST = 1_000

_BEFORE = re.compile(r"[$€£¥(]{1,2}|(?:US|C|A|HK)\$|USD|EUR|GBP|RMB")
_AFTER = re.compile(r"[)%]{1,2}|pts?|bps|x")
_MARK = re.compile(r"\(\w{1,2}\)|\*{1,3}|†|‡|[¹²³⁴⁵]")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell as it was written: its text, its rows and columns, and whether it is a head by its tag."""

    text: str
    columns: int = 1
    rows: int = 1
    head: bool = False


@dataclass(slots=True)
class Placed:
    """A cell with its first column and the one after its last."""

    text: str
    start: int
    end: int
    head: bool

    @property
    def figure(self) -> bool:
        return is_figure(self.text) or is_nil(self.text)

    @property
    def words(self) -> bool:
        return bool(self.text) and not self.figure


Row = list[Placed]


def grid(written: Iterable[Sequence[Cell]]) -> Iterator[Row]:
    """Yield the rows with each cell at its columns; a label that reaches into rows below is repeated in them."""
    reaching: list[tuple[int, Placed]] = []
    places = 0
    for cells in written:
        row: Row = []
        column = 0
        below: list[tuple[int, Placed]] = []
        above = deque(reaching)
        for cell in [*cells, None]:
            # The columns that cells of the rows above reach into are taken; after the last cell, all that are left.
            while above and (cell is None or above[0][1].start <= column):
                left, reached = above.popleft()
                text = reached.text if reached.start == 0 and not reached.head else ""
                row.append(Placed(text, reached.start, reached.end, reached.head))
                if left > 1:
                    below.append((left - 1, reached))
                column = max(column, reached.end)
            if cell is None:
                break
            placed = Placed(cell.text, column, column + min(max(1, cell.columns), _WIDEST), cell.head)
            row.append(placed)
            if cell.rows > 1:
                below.append((cell.rows - 1, placed))
            places += placed.end - column
            column = placed.end
        places += len(below)
        if places > MOST_CELLS:
            raise UnreadableError(f"has a table of more than {MOST_CELLS:,} cells")
        # In the order of their columns, which cells that reach further may have mixed.
        reaching = sorted(below, key=lambda item: item[1].start)
        yield row


def with_signs(row: Row) -> Row:
    """Return a row's cells with text, signs and brackets in cells of their own joined to their figures."""
    joined: Row = []
    before: Placed | None = None
    for cell in row:
        if not cell.text:
            continue
        last = joined[-1] if joined else None
        if before is not None and cell.figure:
            cell = Placed(before.text + cell.text, before.start, cell.end, cell.head)
            before = None
        elif before is not None:
            joined.append(before)
            before = None
        if _BEFORE.fullmatch(cell.text):
            before = cell
        elif last is not None and last.figure and _AFTER.fullmatch(cell.text):
            joined[-1] = Placed(last.text + cell.text, last.start, cell.end, last.head)
        elif last is not None and last.figure and _MARK.fullmatch(cell.text) and cell.start == last.end:
            joined[-1] = Placed(f"{last.text} {cell.text}", last.start, cell.end, last.head)
        else:
            joined.append(cell)
    if before is not None:
        joined.append(before)
    return joined
