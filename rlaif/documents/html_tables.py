"""Tables of HTML: heads that span columns, signs and brackets in cells of their own, rows that cells reach into.

Invariant: the text of each cell is in the table that is made, in its row or among the heads, the unit or the title.
"""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from rlaif.documents.document import Table, TableRow
from rlaif.documents.figures import PAGE_NUMBER, YEAR, is_unit
from rlaif.documents.html_grid import Cell, Placed, Row, grid, with_signs

_PERIOD = re.compile(r"\b(?:months?|weeks?|quarters?|years?|period)\s+end(?:ed|ing)\b|^(?:as of|at)\b", re.IGNORECASE)
_LONG_CELL = 400
"""Characters of a cell that make its table one of layout."""
_BULLET = re.compile(r"[•●▪■◦·o\uf0b7–—*-]|\(?[0-9a-zA-Z]{1,4}[.)]|☐|☒")


_Span = tuple[int, int]


def tables_of(written: Iterable[Sequence[Cell]]) -> list[Table] | None:
    """Return the tables in the rows of a `<table>`, one for each set of heads, or None if it only lays out text."""
    rows = [row for row in (with_signs(row) for row in grid(written)) if any(cell.text for cell in row)]
    if not rows or _is_layout(rows):
        return None
    columns = _columns(rows)
    if not columns:
        return None
    tables: list[Table] = []
    start = 0
    while start < len(rows):
        body = _body_start(rows, start, columns)
        end = body
        while end < len(rows) and not (end > body and _is_heads(rows[end], columns) and _has_body(rows, end, columns)):
            end += 1
        tables.append(_table(rows[start:body], rows[body:end], columns))
        start = end
    return tables


def shown_layout(written: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """Yield the rows of a table that only lays out text."""
    for row in written:
        if text := " ".join(filter(None, (cell.text for cell in row))):
            yield text


def _is_layout(rows: Sequence[Row]) -> bool:
    """Whether a table only lays out text: one column, lists, long paragraphs, or a table of contents."""
    if all(len(row) < 2 for row in rows):
        return True
    if any(len(cell.text) > _LONG_CELL for row in rows for cell in row):
        return True
    if all(len(row) < 2 or (len(row) == 2 and _BULLET.fullmatch(row[0].text)) for row in rows):
        return True
    return _is_contents(rows)


def _is_contents(rows: Sequence[Row]) -> bool:
    """Whether a table is one of contents: a growing page number at the end of most rows, and no other figure."""
    numbers = [row[-1].text for row in rows if len(row) > 1 and PAGE_NUMBER.fullmatch(row[-1].text)]
    if len(numbers) < 3 or len(numbers) < 0.6 * len([row for row in rows if len(row) > 1]):
        return False
    if any(cell.figure and not PAGE_NUMBER.fullmatch(cell.text) for row in rows for cell in row[1:]):
        return False
    pages = [int(number.rsplit("-", 1)[-1]) for number in numbers]
    growing = sum(a <= b for a, b in itertools.pairwise(pages))
    return growing >= 0.9 * (len(pages) - 1) and all(len(row) < 4 for row in rows)


def _columns(rows: Sequence[Row]) -> list[_Span]:
    """Return the columns of cells right of the labels: of figures, or of words where there are none."""
    figures = [(cell.start, cell.end) for row in rows for cell in row if cell.figure and cell.start > 0]
    columns = _merged(figures)
    left = columns[0][0] if columns else 1
    words = [
        (cell.start, cell.end)
        for row in rows
        for cell in row
        if cell.words and cell.start >= max(left, 1) and not any(_shared((cell.start, cell.end), c) for c in columns)
    ]
    if not columns:
        labels = min((row[0].end for row in rows if row and row[0].start == 0 and len(row) > 1), default=1)
        words = [(cell.start, cell.end) for row in rows if len(row) > 1 for cell in row if cell.start >= labels]
    return sorted([*columns, *_merged(words)])


def _merged(spans: Iterable[_Span]) -> list[_Span]:
    """Return spans with those that share a column as one; a wider one does not join the narrower below it."""
    merged: list[_Span] = []
    for start, end in sorted(set(spans), key=lambda span: (span[1] - span[0], span)):
        over = [other for other in merged if _shared((start, end), other)]
        if len(over) > 1:
            continue
        if over:
            merged.remove(over[0])
            merged.append((min(start, over[0][0]), max(end, over[0][1])))
        else:
            merged.append((start, end))
    return sorted(merged)


def _shared(a: _Span, b: _Span) -> int:
    return max(0, min(a[1], b[1]) - max(a[0], b[0]))


def _has_figures(row: Row, columns: Sequence[_Span]) -> bool:
    left = columns[0][0]
    return any(cell.figure and cell.end > left and not YEAR.fullmatch(cell.text) for cell in row)


def _is_heads(row: Row, columns: Sequence[_Span]) -> bool:
    """Whether a row may be of heads: words or years over columns, and no figure."""
    over = [cell for cell in row if cell.end > columns[0][0] and cell.start > 0]
    label = next((cell.text for cell in row if cell not in over), "")
    if not over or _has_figures(row, columns):
        return False
    return not label or is_unit(label) or _is_period_of(label, over)


def _is_period_of(label: str, over: Sequence[Placed]) -> bool:
    """Whether a label is the period whose years are the heads: "For Three Months Ended June 30," left of 2023, 2022."""
    return _PERIOD.search(label) is not None and all(YEAR.fullmatch(cell.text) for cell in over)


def _has_body(rows: Sequence[Row], start: int, columns: Sequence[_Span]) -> bool:
    """Whether rows of figures follow the heads that begin with a row."""
    for row in rows[start:]:
        if _has_figures(row, columns):
            return True
        if not _is_heads(row, columns):
            return False
    return False


def _body_start(rows: Sequence[Row], start: int, columns: Sequence[_Span]) -> int:
    """Return the first row below the heads that begin with a row."""
    figures = next((number for number in range(start, len(rows)) if _has_figures(rows[number], columns)), None)
    if figures is None:
        # A table of words: heads are those by their tag, or a first row of as many cells as there are columns.
        heads = start
        while heads < len(rows) and all(cell.head for cell in rows[heads]):
            heads += 1
        return heads
    # Labels of sections between the heads and the first figures are rows.
    while figures > start and not any(cell.end > columns[0][0] for cell in rows[figures - 1] if cell.start > 0):
        label = rows[figures - 1][0]
        if is_unit(label.text) or not any(_is_over(row, columns) for row in rows[start : figures - 1]):
            break
        figures -= 1
    return figures


def _is_over(row: Row, columns: Sequence[_Span]) -> bool:
    return any(cell.end > columns[0][0] and cell.start > 0 for cell in row)


def _table(heads: Sequence[Row], body: Sequence[Row], columns: Sequence[_Span]) -> Table:
    left = columns[0][0]
    parts: list[list[str]] = [[] for _ in columns]
    titles: list[str] = []
    units: list[str] = []
    for place, row in enumerate(heads):
        over_figures = [cell for cell in row if cell.start > 0 and cell.end > left]
        period = row[0].text if row[0] not in over_figures and _is_period_of(row[0].text, over_figures) else ""
        wide = _over_groups(row, heads[place + 1 :], columns)
        for cell in row:
            over = wide.get(cell.start) or _over(cell, columns)
            if is_unit(cell.text) and (cell.end <= left or len(over) != 1 or len(columns) == 1):
                units.append(cell.text)
            elif cell.start == 0 or not over:
                titles += [cell.text] if cell.text != period else []
            else:
                for number in over:
                    parts[number] += [period, cell.text] if period else [cell.text]
    rows = tuple(_row(row, columns) for row in body)
    heads_of = tuple(" ".join(part) for part in parts)
    # A column without a cell would lose its head.
    kept = [number for number in range(len(columns)) if any(row.cells[number] for row in rows)]
    titles += [heads_of[number] for number in range(len(columns)) if number not in kept and heads_of[number]]
    return Table(
        ", ".join(dict.fromkeys(titles)),
        " ".join(dict.fromkeys(units)),
        tuple(heads_of[number] for number in kept),
        tuple(TableRow(row.label, tuple(row.cells[number] for number in kept)) for row in rows),
    )


def _over(cell: Placed, columns: Sequence[_Span]) -> list[int]:
    return [number for number, column in enumerate(columns) if _shared((cell.start, cell.end), column)]


def _over_groups(row: Row, below: Sequence[Row], columns: Sequence[_Span]) -> dict[int, list[int]]:
    """Return the columns of heads over the first of every two, three, ... columns, by where the heads begin.

    They are over all columns of their groups if the heads below are the same in each group: 2023 over "Shares" in
    Shares, Amount, Shares, Amount.
    """
    over = {cell.start: _over(cell, columns) for cell in row if cell.start > 0 and _over(cell, columns)}
    size = len(columns) // len(over) if over else 0
    if size < 2 or list(over.values()) != [[number] for number in range(0, len(columns), size)]:
        return {}
    for lower in below:
        heads = {number: cell.text for cell in lower if cell.start > 0 for number in _over(cell, columns)}
        if len(heads) == len(columns) and all(heads[number] == heads[number % size] for number in heads):
            return {start: list(range(first, first + size)) for start, (first,) in over.items()}
    return {}


def _row(row: Row, columns: Sequence[_Span]) -> TableRow:
    labels: list[str] = []
    cells = [""] * len(columns)
    for cell in row:
        span = (cell.start, cell.end)
        near = max(
            range(len(columns)),
            key=lambda number: (_shared(span, columns[number]), -abs(columns[number][0] - cell.start)),
        )
        if cell.end <= columns[0][0] or (cell.words and (cell.start == 0 or not _shared(span, columns[near]))):
            labels.append(cell.text)
        else:
            cells[near] = f"{cells[near]} {cell.text}".strip()
    return TableRow(" ".join(labels), tuple(cells))
