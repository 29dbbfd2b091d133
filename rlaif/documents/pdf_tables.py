"""Tables of a page of a PDF: rows of figures below their heads.

A table is a run of lines with figures in common columns, and the lines of heads, unit and title above it.
Invariant: a line is in one table or in none, and a row keeps all of its cells.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.documents.document import Table, TableRow
from rlaif.documents.figures import NOTE, PAGE_NUMBER, is_unit, unit_within
from rlaif.documents.pdf_heads import Column, Span, spans
from rlaif.documents.pdf_lines import Line, Segment
from rlaif.documents.pdf_words import Rule

_ROW_GAP, _HEAD_GAP, _NOTE_GAP = 3.0, 2.3, 5.0
"""Gaps within a table, in heights of its lines: between rows, between lines of heads and titles, and above notes."""
_MOST_BETWEEN = 3
"""Lines without figures between two rows: labels of sections, and labels that go over several lines."""
_MOST_HEADS, _MOST_TITLES = 9, 5
_LONGEST_TITLE = 140
_PROSE = 90
"""Characters from which a line without figures is prose."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_LEADER = re.compile(r"[\s.·…_]{4,}\d*$|(?:\s?\.){4,}")
_CONTINUES = re.compile(r"(?:\b(?:and|or|of|for|the|in|to|from|by|on|with|at|net|including)|[,(—–-])$", re.IGNORECASE)


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
        body = _body(lines, number)
        table = _table(lines, rules, body, free, width / 2)
        number = body.stop
        if table is not None:
            found.append(table)
            free = number = table.lines.stop
    return found


def _body(lines: Sequence[Line], first: int) -> range:
    """Return the lines from the first row to the last of the table that begins with it."""
    left = _figures_left(lines[first])
    labels = lines[first].x0
    edges = [(segment.x0, segment.x1) for segment in _cells(lines[first], left)]
    last = first
    for number in range(first + 1, len(lines)):
        line, above = lines[number], lines[number - 1]
        if line.y0 - above.y1 > _ROW_GAP * max(line.height, 4) or number - last > _MOST_BETWEEN + 1:
            break
        if line.is_row and not line.of_years:
            cells = _cells(line, min(left, _figures_left(line)))
            if not any(x0 < segment.x1 and segment.x0 < x1 for segment in cells for x0, x1 in edges):
                break
            edges += [(segment.x0, segment.x1) for segment in cells]
            left, labels, last = min(left, *(segment.x0 for segment in cells)), min(labels, line.x0), number
        elif not _is_label(line, labels, left):
            break
    return range(first, last + 1)


def _figures_left(row: Line) -> float:
    """Return where the figures of a row begin."""
    cells = [segment for segment in row.segments[1:] if segment.cell]
    return min((segment.x0 for segment in cells), default=row.x0)


def _cells(row: Line, left: float) -> list[Segment]:
    return [segment for segment in row.segments if segment.cell and segment.x1 > left]


def _is_label(line: Line, labels: float, left: float) -> bool:
    """Whether a line without figures may be a label among rows: it begins where labels do."""
    if line.x0 > max(left - 12, labels + 2) or line.x0 < labels - 40 or len(line.text) > _PROSE:
        return False
    return all(segment.x0 < left - 12 for segment in line.segments) and (
        line.x1 < left + 20 or line.text.endswith(":") or len(line.segments) == 1
    )


def _table(lines: Sequence[Line], rules: Sequence[Rule], body: range, free: int, middle: float) -> Found | None:
    """Return the table with these rows, or None if they are no table.

    Args:
        free: the first line that is in no table before it.
        middle: of the page's width.
    """
    rows = [lines[number] for number in body if lines[number].is_row]
    if len(rows) < 2:
        return None
    left = min(map(_figures_left, rows))
    columns = _columns(rows, left)
    if not columns or _is_contents(rows, left):
        return None
    found = Found(body, columns)
    top = _above(lines, rules, found, free, middle)
    if len(columns) == 1 and not found.headed and not found.unit and len(rows) < 3:
        return None
    end = _notes(lines, found, body.stop)
    found.lines = range(top, end)
    return found


def _columns(rows: Sequence[Line], left: float) -> list[Column]:
    """Return the columns of the rows' figures: boxes that share a third of the narrower one's width are of one."""
    boxes: list[list[float]] = []
    for row in rows:
        for segment in _cells(row, left):
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


def _is_contents(rows: Sequence[Line], left: float) -> bool:
    """Whether rows are those of a table of contents: one growing page number each."""
    cells = [_cells(row, left) for row in rows]
    if any(len(found) != 1 or not PAGE_NUMBER.fullmatch(found[0].text) for found in cells):
        return False
    if any(_LEADER.search(segment.text) for row in rows for segment in row.segments):
        return True
    numbers = [int(found[0].text.rsplit("-", 1)[-1]) for found in cells]
    return len(rows) > 2 and all(a <= b for a, b in itertools.pairwise(numbers))


def _above(lines: Sequence[Line], rules: Sequence[Rule], found: Found, free: int, middle: float) -> int:
    """Read heads, unit and titles above a table's rows into it, and then its rows; return the first line."""
    body = found.lines
    left = found.columns[0].x0
    margin = min(lines[row].x0 for row in body)
    heads: list[int] = []
    labels: list[int] = []
    titles: list[str] = []
    units: list[str] = []
    stubs: list[str] = []
    top = number = body.start
    while number > free and body.start - number < _MOST_HEADS + _MOST_TITLES:
        number -= 1
        line, below = lines[number], lines[number + 1]
        gap = (below.y0 - line.y1) / max(line.height, 4)
        if gap > _HEAD_GAP or (line.is_row and not line.of_years):
            break
        single = len(line.segments) == 1
        if single and is_unit(line.text):
            units.insert(0, line.text)
        elif (
            not titles
            and (over := _over(line, left))
            and not (
                single and _is_title(line, lines[number + 1].y0, rules, found.columns, middle, gap if heads else 0.0)
            )
        ):
            heads.insert(0, number)
            stubs[:0] = [segment.text for segment in line.segments if segment not in over]
        elif not heads and not titles and single and _is_label(line, margin, left):
            labels.insert(0, number)
        else:
            title, whole = _title(lines, number, free)
            if not title or len(titles) == _MOST_TITLES:
                break
            titles.insert(0, title)
            if not whole:
                break
        top = number
    if not heads and labels:
        # Without heads above them they name the table.
        kept = labels[-1:] if lines[labels[-1]].text.endswith(":") and labels[-1] == body.start - 1 else []
        titles += [lines[label].text for label in labels if label not in kept]
        labels = kept
    stubs_of_unit = [stub for stub in stubs if is_unit(stub)]
    found.unit = " ".join([*units, *stubs_of_unit]) or next(filter(None, map(unit_within, titles)), "")
    found.titles = [*titles, *(stub for stub in stubs if stub not in stubs_of_unit)]
    found.heads = _heads(lines, rules, heads, found.columns)
    found.rows = _rows([lines[number] for number in [*labels, *body]], found.columns)
    return top


def _title(lines: Sequence[Line], number: int, free: int) -> tuple[str, bool]:
    """Return the title that a line above a table is, "" if it is prose, and whether the line is nothing but the title.

    A paragraph that leads to the table, and so ends with a colon, stays in the text; its last sentence is the title.
    """
    line = lines[number]
    text = line.text
    above = lines[number - 1] if number > free else None
    joined = above is not None and line.y0 - above.y1 < 0.75 * line.height and len(above.text) > _PROSE // 2
    if text.endswith(":"):
        if not joined:
            return text, True
        first = number
        while first > free and lines[first].y0 - lines[first - 1].y1 < 0.75 * line.height and number - first < 4:
            first -= 1
        paragraph = " ".join(line.text for line in lines[first : number + 1])
        return _SENTENCE.split(paragraph)[-1][:_LONGEST_TITLE], False
    # `Ulta Beauty, Inc.` is no sentence.
    prose = len(text) > _PROSE or text.endswith((",", ";")) or (text.endswith(".") and len(text.split()) > 5)
    return ("", False) if prose or (joined and len(text) > _PROSE // 2) else (text, True)


def _is_title(
    line: Line, below: float, rules: Sequence[Rule], columns: Sequence[Column], middle: float, gap: float
) -> bool:
    """Whether a line of one segment that reaches over the figures is of the whole table instead of being a head.

    Args:
        below: upper edge of the next line.
        middle: of the page's width.
        gap: to the heads below, in heights of the line; 0 if there are none.
    """
    (head,) = line.segments
    left, right = columns[0].x0, columns[-1].x1
    for rule in rules:
        if line.y1 - 4 <= rule.y <= below + 3 and rule.x0 > left - 60 and rule.x0 - 2 <= head.middle <= rule.x1 + 2:
            return False
    if head.x0 >= left - 12 and abs(head.middle - (left + right) / 2) < max(8.0, 0.06 * (right - left)):
        return False
    if abs(head.middle - middle) < 8 and (gap > 0.5 or head.x0 < left - 4):
        return True
    return gap > 0.8 or head.x0 < left - 60 or (head.x0 < left - 12 and head.x1 - head.x0 > 0.5 * (right - left))


def _heads(lines: Sequence[Line], rules: Sequence[Rule], heads: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """Return the head of each column, of all the lines of heads."""
    left = columns[0].x0
    over = [Line(_over(lines[number], left), lines[number].y0, lines[number].y1) for number in heads]
    parts: list[list[str]] = [[] for _ in columns]
    underlined = any(
        line.y1 - 4 <= rule.y <= lines[number + 1].y0 + 3
        and (covered := sum(rule.x0 - 2 <= column.middle <= rule.x1 + 2 for column in columns)) > 0
        # A rule below the lowest heads may be that of the whole table.
        and (covered == 1 or number != heads[-1])
        for number, line in zip(heads, over, strict=True)
        for rule in rules
    )
    # From the lowest line up: a head may go on in the line below it.
    below: list[tuple[Segment, Span | None]] = []
    for number, line in reversed(list(zip(heads, over, strict=True))):
        lowest = max(lines[number + 1].y0 + 3, line.y1 + 2)
        under = [rule for rule in rules if line.y1 - 4 <= rule.y <= lowest]
        below = list(zip(line.segments, spans(line.segments, columns, under, below, underlined), strict=True))
        for segment, span in below:
            if span is not None:
                for column in range(span[0], span[1] + 1):
                    parts[column].insert(0, segment.text)
    return [" ".join(found) for found in parts]


def _over(line: Line, left: float) -> list[Segment]:
    return [segment for segment in line.segments if segment.x1 > left - 4 and segment.x0 > left - 60]


def _rows(lines: Sequence[Line], columns: Sequence[Column]) -> list[TableRow]:
    """Return the rows, a label that goes over several lines in one."""
    rows: list[TableRow] = []
    pending = ""
    last: Line | None = None
    for line in lines:
        label, cells = _row(line, columns)
        close = last is not None and line.y0 - last.y1 < 0.9 * line.height
        if any(cells):
            if pending and close and (label[:1].islower() or _CONTINUES.search(pending)):
                label = f"{pending} {label}"
            elif pending:
                rows.append(TableRow(pending, ("",) * len(columns)))
            pending = ""
            rows.append(TableRow(label, cells))
        elif close and not pending and rows and any(rows[-1].cells) and label[:1].islower():
            rows[-1] = TableRow(f"{rows[-1].label} {label}", rows[-1].cells)
        elif pending and close and (label[:1].islower() or _CONTINUES.search(pending)):
            pending = f"{pending} {label}"
        else:
            if pending:
                rows.append(TableRow(pending, ("",) * len(columns)))
            pending = label
        last = line
    if pending:
        rows.append(TableRow(pending, ("",) * len(columns)))
    return rows


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
    return _LEADER.sub("", " ".join(labels)).strip(), tuple(cells)


def _notes(lines: Sequence[Line], found: Found, start: int) -> int:
    """Read the footnotes right below a table into it; return the line after them."""
    number = start
    while number < len(lines):
        line, above = lines[number], lines[number - 1]
        gap = (line.y0 - above.y1) / max(line.height, 4)
        if (line.is_row and not NOTE.match(line.text)) or gap > _NOTE_GAP:
            break
        if NOTE.match(line.text):
            found.notes.append(line.text)
        elif found.notes and gap < 0.8:
            found.notes[-1] += f" {line.text}"
        else:
            break
        number += 1
    return number
