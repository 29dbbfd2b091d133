"""Running text of a page: lines joined to paragraphs, and headings told from them."""

import re
import statistics
from collections.abc import Sequence

from rlaif.documents.document import Text
from rlaif.documents.layout.lines import Line

_PARAGRAPH_GAP = 0.75
"""Gap between two paragraphs, in heights of a line."""
_LONGEST_HEADING = 110
_LARGER = 1.12
"""How much larger than the page's text a heading is."""
_ITEM = re.compile(r"(?:[•●▪■◦o\uf0b7–-]|\(?[a-z0-9]{1,3}[.)])\s+\S", re.IGNORECASE)


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
