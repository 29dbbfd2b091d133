"""The reading order of a page whose parts are side by side: columns of text, and tables with labels of their own.

Invariant: each segment of the page is in one line of the order, and a line that lies across the parts is not cut.
"""

import itertools
from collections.abc import Sequence

from rlaif.documents.layout.lines import Line, Segment

_NARROW_COLUMN, _FEWEST_LINES = 0.13, 4
"""Share of the page's width that a column of text has at least, and how many lines."""
_GUTTER = 8.0
_FULL, _MOSTLY_FULL = 0.7, 0.6
"""Share of a column's width that a full line has, and share of lines that are full; a table's cells are not."""
_FEWEST_ROWS, _MOST_BETWEEN, _SAME_PLACE = 3, 4, 3.0
"""Rows of two tables side by side, other lines between them, and points between the beginnings of their labels."""
_LABEL = 5
"""Characters that labels of a table of its own have on average; cells such as "Level 1" are the same in many rows."""

Gutter = tuple[float, float]


def in_columns(lines: Sequence[Line], width: float) -> list[Line]:
    """Return a page's lines with those of parts side by side one part after the other.

    Args:
        width: of the page.
    """
    ordered: list[Line] = []
    number = 0
    while number < len(lines):
        end, borders = _tables_beside(lines, number)
        if not borders:
            end, borders = _text_beside(lines, number, width)
        if borders:
            ordered += _parts(lines[number:end], borders)
            number = end
        else:
            ordered.append(lines[number])
            number += 1
    return ordered


def _parts(run: Sequence[Line], borders: Sequence[float]) -> list[Line]:
    """Return the lines of a run cut at the borders, one part after the other."""
    parts: list[Line] = []
    edges = [float("-inf"), *borders, float("inf")]
    for low, high in itertools.pairwise(edges):
        for line in run:
            side = [segment for segment in line.segments if low <= segment.middle < high]
            if side:
                parts.append(Line(side, line.y0, line.y1, line.bold))
    return parts


def _text_beside(lines: Sequence[Line], start: int, width: float) -> tuple[int, list[float]]:
    """Return the end of the columns of text that begin with a line, and the places between them, if they do."""
    gutters = _gutters(lines[start], width)
    end = start
    while gutters and end < len(lines):
        narrowed = _narrowed(lines[end], gutters)
        if narrowed is None:
            break
        gutters, end = narrowed, end + 1
    run = lines[start:end]
    borders = [(low + high) / 2 for low, high in gutters]
    if sum(len(line.segments) > 1 for line in run) < _FEWEST_LINES or not _are_full(run, borders):
        return start, []
    return end, borders


def _gutters(line: Line, width: float) -> list[Gutter]:
    """Return the gaps between a line's parts if all may be of columns of text."""
    if len(line.segments) < 2:
        return []
    if not all(_has_words(part) and part.x1 - part.x0 > _NARROW_COLUMN * width for part in line.segments):
        return []
    gaps = [(left.x1, right.x0) for left, right in zip(line.segments, line.segments[1:], strict=False)]
    return gaps if all(high - low >= _GUTTER for low, high in gaps) else []


def _narrowed(line: Line, gutters: Sequence[Gutter]) -> list[Gutter] | None:
    """Return what of the gutters a line leaves free, or None if it crosses one or is a row of figures."""
    if line.is_row and not all(map(_has_words, line.segments)):
        return None
    narrowed: list[Gutter] = []
    for low, high in gutters:
        middle = (low + high) / 2
        for segment in line.segments:
            if segment.x0 < middle < segment.x1:
                return None
            if segment.middle < middle:
                low = max(low, segment.x1)
            else:
                high = min(high, segment.x0)
        if high - low < _GUTTER:
            return None
        narrowed.append((low, high))
    return narrowed


def _are_full(run: Sequence[Line], borders: Sequence[float]) -> bool:
    """Whether most lines of each part are as wide as the part: text is, and cells of a table are not."""
    edges = [float("-inf"), *borders, float("inf")]
    for low, high in itertools.pairwise(edges):
        sides = [[segment for segment in line.segments if low <= segment.middle < high] for line in run]
        widths = [side[-1].x1 - side[0].x0 for side in sides if side]
        if not widths or sum(width > _FULL * max(widths) for width in widths) < _MOSTLY_FULL * len(widths):
            return False
    return True


def _tables_beside(lines: Sequence[Line], start: int) -> tuple[int, list[float]]:
    """Return the end of two tables side by side that begin with a line, and the place between them, if they do."""
    place = next((place for line in lines[start : start + _FEWEST_ROWS + 4] for place in _second_labels(line)), None)
    if place is None:
        return start, []
    border = place - _GUTTER / 2
    labels: list[str] = []
    end = last = start
    while end < len(lines) and end - last <= _MOST_BETWEEN and not _crosses(lines[end], border):
        line = lines[end]
        beside = next((segment for segment in line.segments if abs(segment.x0 - place) < _SAME_PLACE), None)
        if beside is not None and any(abs(found - place) < _SAME_PLACE for found in _second_labels(line)):
            labels.append(beside.text)
            last = end
        end += 1
    distinct = len(set(labels))
    if distinct < _FEWEST_ROWS or distinct < 0.7 * len(labels) or sum(map(len, labels)) < _LABEL * len(labels):
        return start, []
    return last + 1, [border]


def _second_labels(line: Line) -> list[float]:
    """Return where words begin that have figures left and right of them, and words further left."""
    segments = line.segments
    return [
        segment.x0
        for number, segment in enumerate(segments)
        if number > 1
        and _is_label(segment)
        and segments[number - 1].cell
        and _is_label(segments[0])
        and any(right.figure for right in segments[number + 1 :])
    ]


def _is_label(segment: Segment) -> bool:
    return not segment.cell and sum(map(str.isalpha, segment.text)) > 0.5 * len(segment.text)


def _crosses(line: Line, border: float) -> bool:
    return any(segment.x0 < border < segment.x1 for segment in line.segments)


def _has_words(segment: Segment) -> bool:
    return sum(map(str.isalpha, segment.text)) > 0.5 * len(segment.text) and " " in segment.text
