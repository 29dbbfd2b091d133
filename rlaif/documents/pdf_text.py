"""Running text of a page of a PDF: lines joined to paragraphs, headings told from them, columns read one by one."""

import re
import statistics
from collections.abc import Sequence

from rlaif.documents.document import Text
from rlaif.documents.pdf_lines import Line, Segment

_PARAGRAPH_GAP = 0.75
"""Gap between two paragraphs, in heights of a line."""
_LONGEST_HEADING = 110
_LARGER = 1.12
"""How much larger than the page's text a heading is."""
_ITEM = re.compile(r"(?:[•●▪■◦o\uf0b7–-]|\(?[a-z0-9]{1,3}[.)])\s+\S", re.IGNORECASE)
_NARROW_COLUMN, _FEWEST_LINES = 0.25, 4
"""Share of the page's width that a column of text has at least, and how many lines."""
_GUTTER = 8.0


def texts_of(lines: Sequence[Line], usual: float) -> list[Text]:
    """Return lines of running text as paragraphs and headings.

    Args:
        usual: height of most of the document's lines.
    """
    texts: list[Text] = []
    open_: list[Line] = []
    for line in lines:
        if open_ and not _continues(open_[-1], line, usual):
            texts.append(_text(open_, usual))
            open_ = []
        open_.append(line)
    if open_:
        texts.append(_text(open_, usual))
    return texts


def usual_height(lines: Sequence[Line]) -> float:
    """Return the height of most lines, weighted by their length."""
    heights = [round(line.height, 1) for line in lines for _ in range(1 + len(line.text) // 20)]
    return statistics.median(heights) if heights else 0.0


def _continues(above: Line, line: Line, usual: float) -> bool:
    if line.y0 - above.y1 > _PARAGRAPH_GAP * max(min(line.height, above.height), 4):
        return False
    if abs(line.height - above.height) > 0.15 * max(line.height, above.height) or line.y0 < above.y0 - 2:
        return False
    return not (_is_heading(above, usual) != _is_heading(line, usual) or _ITEM.match(line.text))


def _is_heading(line: Line, usual: float) -> bool:
    text = line.text
    if len(text) > _LONGEST_HEADING or text.endswith((".", ",", ";")) or not any(map(str.isalpha, text)):
        return False
    return line.bold or line.height > _LARGER * usual or (text.isupper() and len(text) > 3)


def _text(lines: Sequence[Line], usual: float) -> Text:
    text = lines[0].text
    for line in lines[1:]:
        # A word that the line's end cuts keeps its hyphen: "thirteen-week" is more common than "reve-nue" in filings.
        text += line.text if text.endswith("-") and line.text[:1].islower() else f" {line.text}"
    heading = all(_is_heading(line, usual) for line in lines) and len(text) <= 2 * _LONGEST_HEADING
    return Text(text, heading)


def in_columns(lines: Sequence[Line], width: float) -> list[Line]:
    """Return a page's lines with those of two columns of text one column after the other.

    A gutter is a gap at one place in several lines in a row, with words and no figures on both sides.
    """
    ordered: list[Line] = []
    number = 0
    while number < len(lines):
        gutter = _gutter(lines[number], width)
        end = number
        while gutter is not None and end < len(lines):
            narrowed = _narrowed(lines[end], gutter)
            if narrowed is None:
                break
            gutter, end = narrowed, end + 1
        both = sum(len(line.segments) > 1 for line in lines[number:end])
        if gutter is None or both < _FEWEST_LINES:
            ordered.append(lines[number])
            number += 1
            continue
        middle = (gutter[0] + gutter[1]) / 2
        run = lines[number:end]
        for left in (True, False):
            for line in run:
                side = [segment for segment in line.segments if (segment.middle < middle) == left]
                if side:
                    ordered.append(Line(side, line.y0, line.y1, line.bold))
        number = end
    return ordered


def _gutter(line: Line, width: float) -> tuple[float, float] | None:
    """Return the gap between a line's two parts if both may be of columns of text."""
    if len(line.segments) != 2:
        return None
    left, right = line.segments
    wide = all(segment.x1 - segment.x0 > _NARROW_COLUMN * width for segment in line.segments)
    if not wide or not (_has_words(left) and _has_words(right)) or right.x0 - left.x1 < _GUTTER:
        return None
    return left.x1, right.x0


def _narrowed(line: Line, gutter: tuple[float, float]) -> tuple[float, float] | None:
    """Return what of a gutter a line leaves free, or None if it crosses it or is a row of figures."""
    if line.is_row and not all(map(_has_words, line.segments)):
        return None
    low, high = gutter
    middle = (low + high) / 2
    for segment in line.segments:
        if segment.x0 < middle < segment.x1:
            return None
        if segment.middle < middle:
            low = max(low, segment.x1)
        else:
            high = min(high, segment.x0)
    return (low, high) if high - low >= _GUTTER else None


def _has_words(segment: Segment) -> bool:
    return sum(map(str.isalpha, segment.text)) > 0.5 * len(segment.text) and " " in segment.text
