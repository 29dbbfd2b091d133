"""Rows and columns of a table: which lines are its rows, and in which column each figure is.

Invariant: a row keeps all of its cells, and a label that goes over several lines is one.
"""

import itertools
import re
import statistics
from collections.abc import Sequence

from rlaif.documents.document import TableRow
from rlaif.documents.layout.head_rules import Column
from rlaif.documents.layout.lines import Line, Segment, joined

_ROW_GAP = 3.0
"""Gap between two rows, in heights of a line."""
_WRAPPED = 0.88
"""Step from a line of a label to the next line of the same, at most, in steps from a row to the next."""
_MOST_BETWEEN = 3
"""Lines without figures between two rows: labels of sections, and labels that go over several lines."""
PROSE = 90
"""Characters from which a line without figures is prose, unless it ends where the labels do."""
LEADER = re.compile(r"[\s.·…_]{4,}\d*$|(?:\s?\.){4,}")
"""The dots that lead from a label to its figure."""
_CONTINUES = re.compile(r"(?:\b(?:and|or|of|for|the|in|to|from|by|on|with|at|net|including)|[,(—–-])$", re.IGNORECASE)


def body_of(lines: Sequence[Line], first: int) -> range:
    """Return the lines from the first row to the last of the table that begins with it."""
    left = figures_left(lines[first])
    labels = lines[first].x0
    edges = [(segment.x0, segment.x1) for segment in cells_of(lines[first], left)]
    last = first
    for number in range(first + 1, len(lines)):
        line, above = lines[number], lines[number - 1]
        if line.y0 - above.y1 > _ROW_GAP * max(line.height, 4) or number - last > _MOST_BETWEEN + 1:
            break
        if line.y0 < above.y0 - 2:
            # Another column of the page.
            break
        if line.is_row and not line.of_years:
            cells = cells_of(line, min(left, figures_left(line)))
            if not any(x0 < segment.x1 and segment.x0 < x1 for segment in cells for x0, x1 in edges):
                break
            edges += [(segment.x0, segment.x1) for segment in cells]
            left, labels, last = min(left, *(segment.x0 for segment in cells)), min(labels, line.x0), number
        elif not is_label(line, labels, left):
            break
    return range(first, last + 1)


def figures_left(row: Line) -> float:
    """Return where the figures of a row begin."""
    cells = [segment for segment in row.segments[1:] if segment.cell]
    return min((segment.x0 for segment in cells), default=row.x0)


def cells_of(row: Line, left: float) -> list[Segment]:
    """Return a row's cells of figures."""
    return [segment for segment in row.segments if segment.cell and segment.x1 > left]


def is_label(line: Line, labels: float, left: float) -> bool:
    """Whether a line without figures may be a label among rows: it begins where labels do.

    Args:
        labels: where they begin.
        left: where the figures begin.
    """
    if line.x0 > max(left - 12, labels + 2) or line.x0 < labels - 40 or (len(line.text) > PROSE and line.x1 > left):
        return False
    return all(segment.x0 < left - 12 for segment in line.segments) and (
        line.x1 < left + 20 or line.text.endswith(":") or len(line.segments) == 1
    )


def columns_of(rows: Sequence[Line], left: float) -> list[Column]:
    """Return the columns of the rows' figures: boxes that share a third of the narrower one's width are of one."""
    boxes: list[list[float]] = []
    for row in rows:
        for segment in cells_of(row, left):
            for box in boxes:
                shared = min(segment.x1, box[1]) - max(segment.x0, box[0])
                if shared > 0.3 * min(segment.x1 - segment.x0, box[1] - box[0]):
                    box[0], box[1] = min(box[0], segment.x0), max(box[1], segment.x1)
                    break
            else:
                boxes.append([segment.x0, segment.x1])
    merged: list[Column] = []
    for x0, x1 in sorted(map(tuple, boxes)):
        last = merged[-1] if merged else None
        if last is not None and min(x1, last.x1) - max(x0, last.x0) > 0.3 * min(x1 - x0, last.x1 - last.x0):
            merged[-1] = Column(min(x0, last.x0), max(x1, last.x1))
        else:
            merged.append(Column(x0, x1))
    return merged


def rows_of(lines: Sequence[Line], columns: Sequence[Column]) -> list[TableRow]:
    """Return the rows, a label that goes over several lines in one."""
    rows: list[TableRow] = []
    pending = ""
    last: Line | None = None
    step = _step(lines)
    for line in lines:
        label, cells = _row(line, columns)
        close = last is not None and line.y0 - last.y1 < 0.9 * line.height
        wrapped = last is not None and line.y1 - last.y1 < _WRAPPED * step
        goes_on = pending and close and _goes_on(pending, label, wrapped)
        if any(cells):
            if goes_on:
                label = joined((pending, label))
            elif pending:
                rows.append(TableRow(pending, ("",) * len(columns)))
            pending = ""
            rows.append(TableRow(label, cells))
        elif close and not pending and rows and any(rows[-1].cells) and _goes_on("", label, wrapped):
            rows[-1] = TableRow(joined((rows[-1].label, label)), rows[-1].cells)
        elif goes_on:
            pending = joined((pending, label))
        else:
            if pending:
                rows.append(TableRow(pending, ("",) * len(columns)))
            pending = label
        last = line
    if pending:
        rows.append(TableRow(pending, ("",) * len(columns)))
    return rows


def _step(lines: Sequence[Line]) -> float:
    """Return the usual step from a row to the next, or 0 if there are too few to say."""
    steps = [below.y1 - above.y1 for above, below in itertools.pairwise(lines) if above.is_row and below.is_row]
    return statistics.median(steps) if len(steps) > 1 else 0.0


def _goes_on(above: str, label: str, wrapped: bool) -> bool:
    """Whether a label is the next line of the one above it.

    Args:
        wrapped: whether it is nearer to it than a row is to the next.
    """
    if above.endswith(":"):
        return False
    if wrapped:
        return True
    # `iPhone` is a name.
    small = label[:1].islower() and not label[1:2].isupper()
    return small or (above.count("(") > above.count(")")) or _CONTINUES.search(above) is not None


def _row(line: Line, columns: Sequence[Column]) -> tuple[str, tuple[str, ...]]:
    """Return the label and the cells of a line."""
    left = columns[0].x0
    labels: list[str] = []
    cells = [""] * len(columns)
    for place, segment in enumerate(line.segments):
        cell = segment.cell and (place or segment.x1 > left)
        if not cell and (segment.x0 < left - 2 or not line.is_row):
            labels.append(segment.text)
            continue
        near = max(
            range(len(columns)),
            key=lambda c: (
                min(segment.x1, columns[c].x1) - max(segment.x0, columns[c].x0),
                -abs(columns[c].middle - segment.middle),
            ),
        )
        cells[near] = f"{cells[near]} {segment.text}".strip()
    return LEADER.sub("", " ".join(labels)).strip(), tuple(cells)
