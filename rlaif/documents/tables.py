"""Tables of a text with each cell under its column head, so that a model need not count columns.

A table is a run of lines with cells between "|", as in Markdown and in flattened filings. Its heads are the lines above
the first row of figures, or above Markdown's rule. A head that stands alone on its line, such as a period or a unit,
is of all columns.

Invariant: no cell is lost and none is changed; text outside of tables stays as it is, and so do tables without heads
and those with several rules.
"""

import re
from collections.abc import Sequence
from itertools import accumulate, groupby

from rlaif.documents.document import Table, TableRow
from rlaif.documents.figures import is_figure

Row = list[str]

# A lone dash is a cell of a figure that is nil.
_BAR = r"\s*(?::?-{2,}:?|:-:?|-:)\s*"
_RULE = re.compile(rf"\|?{_BAR}(?:\|{_BAR})*\|?")
# A bar that Markdown escapes is of the cell.
_BETWEEN = re.compile(r"(?<!\\)\|")


def with_heads(text: str) -> str:
    """Return a text whose tables show each cell as `head: cell`.

    Example:
        >>> print(with_heads("| | 2023 | 2022 |\\n|---|---|---|\\n| Net sales | 10,208 | 8,631 |"))
        Net sales | 2023: 10,208 | 2022: 8,631
    """
    parts: list[str] = []
    for in_table, group in groupby(text.split("\n"), lambda line: "|" in line):
        lines = list(group)
        table = pipe_table(lines) if in_table else None
        parts += lines if table is None else [*([table.title] if table.title else []), *shown_rows(table)]
    return "\n".join(parts)


def shown_rows(table: Table) -> list[str]:
    """Return a table's rows as they are shown, in contexts and in chunks: each cell as `head: cell`."""
    return [shown_row(row.label, row.cells, table.heads) for row in table.rows]


def shown_row(label: str, cells: Sequence[str], heads: Sequence[str]) -> str:
    """Return a row as it is shown.

    >>> shown_row("Net sales", ["10,208", "8,631"], ["2023", "2022"])
    'Net sales | 2023: 10,208 | 2022: 8,631'
    """
    shown = (f"{head}: {cell}" if head else cell for head, cell in zip(heads, cells, strict=True) if cell)
    return " | ".join([label, *shown])


def pipe_table(lines: Sequence[str]) -> Table | None:
    """Return the table in lines with cells between "|", or None if they have no heads, or several rules."""
    rules = [number for number, line in enumerate(lines) if _RULE.fullmatch(line.strip())]
    if len(rules) > 1 or len(lines) < 2:
        # Heads may have changed in between.
        return None
    rule = rules[0] if rules else None
    # Markdown encloses its rows in bars, and a flattened filing has them between its cells alone.
    enclosed = all(line.startswith("|") and line.endswith("|") for line in map(str.strip, lines))
    rows = [_cells(line, enclosed) for number, line in enumerate(lines) if number != rule]
    width = max(1, *map(len, rows))
    rows = [row + [""] * (width - len(row)) for row in rows]
    first = rule if rule is not None else next((number for number, row in enumerate(rows) if _has_figure(row)), 0)
    while first < len(rows) and rule is not None and not _has_figure(rows[first]) and _is_head(rows[first]):
        first += 1
    if not 0 < first < len(rows):
        return None
    heads, titles = _heads(rows[:first])
    if not any(heads):
        return None
    # A column without a cell would lose its head.
    titles += [head for column, head in enumerate(heads) if head and not any(row[column] for row in rows[first:])]
    body = tuple(TableRow(row[0], tuple(row[1:])) for row in rows[first:])
    return Table(" ".join(titles), "", tuple(heads[1:]), body)


def _cells(line: str, enclosed: bool) -> Row:
    cells = [cell.strip() for cell in _BETWEEN.split(line)]
    return cells[1:-1] if enclosed else cells


def _has_figure(row: Row) -> bool:
    return any(map(is_figure, row[1:]))


def _is_head(row: Row) -> bool:
    """Whether a row without figures is a further line of heads: without a label, or of years and periods alone."""
    return not row[0] and any(row[1:])


def _heads(rows: Sequence[Row]) -> tuple[list[str], list[str]]:
    """Return each column's head, "" for the labels', and what is of the whole table."""
    width = len(rows[0])
    heads: list[list[str]] = [[] for _ in range(width)]
    titles: list[str] = []
    for row in rows:
        if row[0]:
            titles.append(row[0])
        given = [cell for cell in row[1:] if cell]
        if len(given) == 1 < width - 1:
            titles.append(given[0])
            continue
        for column, cell in enumerate(_spread(row[1:]), start=1):
            if cell:
                heads[column].append(cell)
    return [" ".join(head) for head in heads], titles


def _spread(cells: Row) -> Row:
    """Return the head of each column where heads span several: centred over equal parts, or at the left of spans."""
    given = [cell for cell in cells if cell]
    if len(given) in (0, len(cells)):
        return cells
    span = len(cells) // len(given)
    parts = [cells[start : start + span] for start in range(0, len(cells), span)]
    if not cells[0] and len(parts) == len(given) and all(any(part) for part in parts):
        return [cell for cell in given for _ in range(span)]
    return list(accumulate(cells, _or_last))


def _or_last(last: str, cell: str) -> str:
    return cell or last
