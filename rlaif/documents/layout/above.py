"""What is written above the rows of a table: its heads, its unit and its titles.

Invariant: a line above a table is a head, a unit, a title, a label or running text, and one of them only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rlaif.documents.figures import is_unit, is_unit_alone, unit_within
from rlaif.documents.layout.head_rules import Column, Span
from rlaif.documents.layout.heads import spans
from rlaif.documents.layout.lines import Line, Segment, joined
from rlaif.documents.layout.rows import PROSE, is_label
from rlaif.documents.layout.words import Rule

_HEAD_GAP = 2.3
"""Gap between lines of heads and titles, in heights of a line."""
_TIGHT = 0.2
"""Gap between lines of one cell, in heights of a line."""
_MOST_HEADS, _MOST_TITLES = 9, 5
_LONGEST_TITLE = 140
_SHORTENED = re.compile(r"\b(?:(?:[A-Z]\.){2,}|(?:Inc|Corp|Co|Ltd|No)\.)$")
_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_OF_THE_WHOLE = re.compile(r"\(?(?:un)?audited\)?|.*\(continued\)", re.IGNORECASE)
"""What is said of a whole table if it is written in the middle of the page."""
_CENTRED = 8.0
"""Points that a title may be beside the page's middle."""
_STUB_LINES = 3


@dataclass(slots=True)
class Above:
    """What is above a table's rows.

    Attributes:
        top: number of the first line of it.
        heads: of each column, of all the lines of heads.
        labels: numbers of the lines right above the rows that are labels among them.
    """

    top: int
    titles: list[str] = field(default_factory=list)
    unit: str = ""
    heads: list[str] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)


def read_above(
    lines: Sequence[Line], rules: Sequence[Rule], body: range, columns: Sequence[Column], *, free: int, middle: float
) -> Above:
    """Return the heads, the unit and the titles above a table's rows.

    Args:
        free: the first line that is in no table before it.
        middle: of the page's width.
    """
    margin = min(lines[row].x0 for row in body)
    columns = _widened(columns, [lines[row] for row in body], rules)
    left = columns[0].x0
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
        if gap > _HEAD_GAP or line.y0 > below.y0 + 2 or (line.is_row and not line.of_years):
            break
        single = len(line.segments) == 1
        over = _over(line, left)
        of_units = [segment for segment in over if is_unit_alone(segment.text)]
        if single and is_unit_alone(line.text):
            units.insert(0, line.text)
        elif over and len(of_units) == len(over) and len(line.segments) == len(over) + 1 and not titles:
            # A label or a name of the table, and the unit over the figures.
            units[:0] = [segment.text for segment in of_units]
            stubs.insert(0, line.segments[0].text)
        elif (
            not titles
            and over
            and not (single and _is_title(line, below.y0, rules, columns, middle, gap if heads else 0.0))
        ):
            heads.insert(0, number)
            stubs[:0] = [segment.text for segment in line.segments if segment not in over]
        elif heads and not titles and _is_stub(lines, number, free, left):
            stubs.insert(0, line.text)
        elif not heads and not titles and single and is_label(line, margin, left) and not _is_sentence(line.text):
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
    stubs = _whole(stubs)
    stubs_of_unit = [stub for stub in stubs if is_unit(stub)]
    unit = " ".join(dict.fromkeys([*units, *stubs_of_unit])) or next(filter(None, map(unit_within, titles)), "")
    titles += [stub for stub in stubs if stub not in stubs_of_unit]
    return Above(top, titles, unit, _heads(lines, rules, heads, columns), labels)


def _widened(columns: Sequence[Column], body: Sequence[Line], rules: Sequence[Rule]) -> list[Column]:
    """Return columns as wide as the rules of their cells: heads are centred over a cell, and figures end at its right.

    Args:
        body: the table's rows; the rules nearest to the first count.
    """
    labels = [line.segments[0].x1 for line in body if line.is_row and not line.segments[0].cell]
    first_row = body[0].y0
    rules = [rule for rule in rules if rule.y < body[-1].y1 + 4]
    wide = list(columns)
    for rule in sorted(rules, key=lambda rule: -abs(rule.y - first_row)):
        over = [
            number
            for number, column in enumerate(columns)
            if min(rule.x1, column.x1) - max(rule.x0, column.x0) > 0.5 * (column.x1 - column.x0)
        ]
        if len(over) != 1:
            continue
        (number,) = over
        before = columns[number - 1].x1 if number else max(labels, default=columns[0].x0)
        after = columns[number + 1].x0 if number + 1 < len(columns) else rule.x1
        if rule.x0 > before - 3 and rule.x1 < after + 3:
            wide[number] = Column(min(rule.x0, columns[number].x0), max(rule.x1, columns[number].x1))
    return wide


def _is_stub(lines: Sequence[Line], number: int, free: int, left: float) -> bool:
    """Whether a line left of the figures is the head of the labels: heads of figures are right above it."""
    for above in range(number - 1, max(free, number - _STUB_LINES) - 1, -1):
        if lines[above + 1].y0 - lines[above].y1 > 0.6 * max(lines[above].height, 4):
            return False
        if _over(lines[above], left) and not lines[above].is_row:
            return len(lines[above].segments) > 1 or lines[above].x0 > left - 4
    return False


def _whole(stubs: Sequence[str]) -> list[str]:
    """Return heads of labels, a bracket that goes over several lines in one."""
    whole: list[str] = []
    for stub in stubs:
        if whole and whole[-1].count("(") > whole[-1].count(")"):
            whole[-1] += f" {stub}"
        else:
            whole.append(stub)
    return whole


def _title(lines: Sequence[Line], number: int, free: int) -> tuple[str, bool]:
    """Return the title that a line above a table is, "" if it is prose, and whether the line is nothing but the title.

    A paragraph that leads to the table, and so ends with a colon, stays in the text; its last sentence is the title.
    """
    line = lines[number]
    text = line.text
    above = lines[number - 1] if number > free else None
    goes_on = above is not None and line.y0 - above.y1 < 0.75 * line.height and len(above.text) > PROSE // 2
    if text.endswith(":"):
        if not goes_on:
            return text, True
        first = number
        # All lines of a paragraph but its last are as long as it is wide.
        widest = max(line.x1, *(other.x1 for other in lines[max(free, number - 4) : number]))
        while (
            first > free
            and number - first < 4
            and lines[first].y0 - lines[first - 1].y1 < 0.75 * line.height
            and lines[first - 1].x1 > 0.8 * widest
        ):
            first -= 1
        paragraph = " ".join(line.text for line in lines[first : number + 1])
        return _SENTENCE.split(paragraph)[-1][:_LONGEST_TITLE], False
    ends = text.endswith((",", ";")) or _is_sentence(text) or (text.endswith(".") and goes_on)
    return ("", False) if ends or len(text) > (PROSE // 2 if goes_on else PROSE) else (text, True)


def _is_sentence(text: str) -> bool:
    """Whether a line ends a sentence; `Ulta Beauty, Inc.` and `securities issued by the U.S.` do not."""
    return text.endswith(".") and len(text.split()) > 5 and not _SHORTENED.search(text)


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
    if abs(head.middle - middle) < _CENTRED and _OF_THE_WHOLE.fullmatch(head.text):
        return True
    left, right = columns[0].x0, columns[-1].x1
    for rule in rules:
        if line.y1 - 4 <= rule.y <= below + 3 and rule.x0 > left - 60 and rule.x0 - 2 <= head.middle <= rule.x1 + 2:
            return False
    if head.x0 >= left - 12 and abs(head.middle - (left + right) / 2) < max(8.0, 0.06 * (right - left)):
        return False
    if abs(head.middle - middle) < _CENTRED and (gap > 0.5 or head.x0 < left - 4):
        return True
    return gap > 0.8 or head.x0 < left - 60 or (head.x0 < left - 12 and head.x1 - head.x0 > 0.5 * (right - left))


def _heads(lines: Sequence[Line], rules: Sequence[Rule], heads: Sequence[int], columns: Sequence[Column]) -> list[str]:
    """Return the head of each column, of all the lines of heads."""
    left = columns[0].x0
    over = [Line(_over(lines[number], left), lines[number].y0, lines[number].y1) for number in heads]
    parts: list[list[str]] = [[] for _ in columns]
    underlined = any(
        line.y1 - 4 <= rule.y <= lines[number + 1].y0 + 3
        # A rule below the lowest heads may be that of the whole table.
        and number != heads[-1]
        and sum(rule.x0 - 2 <= column.middle <= rule.x1 + 2 for column in columns) > 1
        for number, line in zip(heads, over, strict=True)
        for rule in rules
    )
    # From the lowest line up: a head may go on in the line below it.
    below: list[tuple[Segment, Span | None]] = []
    for number, line in reversed(list(zip(heads, over, strict=True))):
        lowest = max(lines[number + 1].y0 + 3, line.y1 + 2)
        under = [rule for rule in rules if line.y1 - 4 <= rule.y <= lowest]
        tight = lines[number + 1].y0 - line.y1 < _TIGHT * line.height
        found = spans(line.segments, columns, under, below, underlined=underlined, tight=tight)
        below = list(zip(line.segments, found, strict=True))
        for segment, span in below:
            if span is not None:
                for column in range(span[0], span[1] + 1):
                    parts[column].insert(0, segment.text)
    return [joined(part) for part in parts]


def _over(line: Line, left: float) -> list[Segment]:
    return [segment for segment in line.segments if segment.x1 > left - 4 and segment.x0 > left - 60]
