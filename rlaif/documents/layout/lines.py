"""Lines of a page, each as segments: words with no wider gap between them than a space.

Invariant: each word of the page is in one segment of one line. A sign of a currency, a percent sign or a bracket that
is set apart is in the segment of its figure.
"""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlaif.documents.figures import YEAR, is_figure, is_nil
from rlaif.documents.layout.words import PageWords, Word

_SAME_LINE = 0.5
"""Share of the lower of two words' heights by which they overlap if they are of one line."""
_GAP, _FIGURE_GAP = 0.56, 0.35
"""Gaps between segments, as shares of the height: between any words, and between two figures."""
_SMALL = 0.82
"""Share of the height before it, below which a raised word is superscript."""
_BEFORE = frozenset({"$", "€", "£", "¥", "(", "$(", "US$", "C$", "A$", "HK$"})
_AFTER = frozenset({"%", ")", "%)", ")%", "pts", "bps"})
_PERCENT = frozenset({"%", "%)"})
_ORDINALS = frozenset({"st", "nd", "rd", "th", "TM", "SM", "®", "™"})


@dataclass(slots=True)
class Segment:
    """Words with no wider gap between them than a space."""

    text: str
    x0: float
    x1: float

    @property
    def figure(self) -> bool:
        return is_figure(self.text)

    @property
    def cell(self) -> bool:
        """Whether it may be a cell of figures, one without a figure included."""
        return is_figure(self.text) or is_nil(self.text)

    @property
    def middle(self) -> float:
        return (self.x0 + self.x1) / 2


@dataclass(slots=True)
class Line:
    """A line.

    Attributes:
        y0, y1: upper and lower edge.
        bold: whether all of its words are.
    """

    segments: list[Segment]
    y0: float
    y1: float
    bold: bool = False

    @property
    def text(self) -> str:
        return " ".join(segment.text for segment in self.segments)

    @property
    def x0(self) -> float:
        return self.segments[0].x0

    @property
    def x1(self) -> float:
        return self.segments[-1].x1

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def is_row(self) -> bool:
        """Whether it may be a row of a table: a figure right of a label, or several."""
        figures = [segment.figure for segment in self.segments]
        if any(figures[1:]):
            return True
        # Only dashes right of a label: nil for all periods.
        return len(figures) > 1 and all(segment.cell for segment in self.segments[1:])

    @property
    def of_years(self) -> bool:
        """Whether it holds nothing but years, and a label at most."""
        return all(YEAR.fullmatch(segment.text) for segment in self.segments[-max(1, len(self.segments) - 1) :])


def joined(parts: Iterable[str]) -> str:
    """Return the lines of a cell in one: "Non-" above "cash" is "Non-cash".

    >>> joined(["Non-", "cash", "items"])
    'Non-cash items'
    """
    text = ""
    for part in filter(None, parts):
        text += part if not text or (text.endswith("-") and text[-2:-1].isalpha()) else f" {part}"
    return text


def lines_of(page: PageWords) -> list[Line]:
    """Return a page's lines, from the top down."""
    order = sorted(range(len(page.words)), key=lambda number: (_middle(page.words[number]), page.words[number].x0))
    grouped: list[list[int]] = []
    for number in order:
        word = page.words[number]
        for line in reversed(grouped[-8:]):
            if _same_line(page.words[line[0]], word):
                line.append(number)
                break
        else:
            grouped.append([number])
    lines = [_line(page, sorted(numbers, key=lambda number: page.words[number].x0)) for numbers in grouped]
    return sorted(lines, key=lambda line: (line.y0 + line.y1, line.x0))


def _middle(word: Word) -> float:
    return (word.y0 + word.y1) / 2


def _same_line(first: Word, word: Word) -> bool:
    overlap = min(first.y1, word.y1) - max(first.y0, word.y0)
    return overlap > _SAME_LINE * min(first.y1 - first.y0, word.y1 - word.y0)


def _line(page: PageWords, numbers: Sequence[int]) -> Line:
    words = [page.words[number] for number in numbers]
    height = statistics.median(word.y1 - word.y0 for word in words)
    return Line(
        _with_signs(_segments(words, height)),
        statistics.median(word.y0 for word in words),
        statistics.median(word.y1 for word in words),
        all(number in page.heavy for number in numbers),
    )


def _segments(words: Sequence[Word], height: float) -> list[Segment]:
    """Join words to segments."""
    segments: list[Segment] = []
    last: Word | None = None
    for word in words:
        if last is not None:
            gap = word.x0 - last.x1
            segment = segments[-1]
            if _raised(last, word) and gap < 0.4 * height:
                segment.text += _superscript(word.text)
                segment.x1 = max(segment.x1, word.x1)
                # Its height is not that of the line; what follows is compared with the word before it.
                last = Word(last.text, last.x0, word.x1, last.y0, last.y1, last.first)
                continue
            apart = _FIGURE_GAP if is_figure(segment.text) and is_figure(word.text) else _GAP
            # A sign of a currency is of the figure after it.
            if gap < apart * height and not (word.text in _BEFORE and segment.cell):
                whole = gap < 0 and segment.text.endswith(("-", "/"))
                signed = segment.text in _BEFORE or (word.text in _PERCENT and segment.figure)
                separator = "" if whole or signed else " "
                segment.text += separator + word.text
                segment.x1 = max(segment.x1, word.x1)
                last = word
                continue
        segments.append(Segment(word.text, word.x0, word.x1))
        last = word
    return segments


def _raised(last: Word, word: Word) -> bool:
    tall = last.y1 - last.y0
    return word.y1 - word.y0 < _SMALL * tall and word.y1 < last.y1 - 0.12 * tall


def _superscript(text: str) -> str:
    """Return what superscript is shown as: the mark of a footnote in brackets, so that it changes no figure."""
    if text in _ORDINALS or not text.isalnum():
        return text if not text[:1].isdigit() else f" ({text})"
    return f" ({text})"


def _with_signs(segments: Sequence[Segment]) -> list[Segment]:
    """Join signs that stand apart to their figures, and a closing bracket to the opening one."""
    found: list[Segment] = []
    for segment in segments:
        last = found[-1] if found else None
        closes = last is not None and last.cell and segment.text in _AFTER
        opens = last is not None and last.text in _BEFORE and (segment.cell or segment.text[:1] == "(")
        if last is not None and (closes or opens):
            last.text += segment.text
            last.x1 = segment.x1
        else:
            found.append(segment)
    return found
