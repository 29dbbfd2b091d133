"""Words and drawn rules of a page of a PDF, in points from the page's upper left corner, as the page is shown.

Invariant: a word's box is that of its characters with their advance, so that gaps between words are real spaces.
"""

import ctypes
import math
from collections import Counter
from typing import Any

import pypdfium2 as pdfium
import pypdfium2.raw as raw

from rlaif.documents.faults import UnreadableError
from rlaif.documents.layout.words import PageWords, Rule, Word

LARGEST_PAGE = 200_000
"""Characters of a page; no page that people read has as many."""
LARGEST_DRAWING = 50_000
"""Objects drawn on a page that are looked through for rules."""

_JOINED, _OVERLAPPING = 0.18, 0.3
"""Shares of a character's height: the gap up to which it continues a word, and how far it may overlap it."""
_SAMPLED = 40
"""Characters of a page whose angle says how its text is turned."""
_THIN = 3.0
"""Points of height up to which a drawn box is a rule."""
_SHORTEST_RULE = 4.0
_TOUCHING = 1.5
"""Points between parts of one rule."""
_UNUSED = frozenset({0, 0xFFFE, 0xFFFF, 0xFEFF, 0x200B, 0xAD})


class Turned:
    """The way from a page's own coordinates to those of the page as it is shown."""

    def __init__(self, page: pdfium.PdfPage, quarters: int) -> None:
        left, bottom, right, top = page.get_cropbox()
        self._left, self._right = min(left, right), max(left, right)
        self._bottom, self._top = min(bottom, top), max(bottom, top)
        self._quarters = quarters

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the page as it is shown."""
        width, height = self._right - self._left, self._top - self._bottom
        return (height, width) if self._quarters % 2 else (width, height)

    def box(self, left: float, bottom: float, right: float, top: float) -> tuple[float, float, float, float]:
        """Return x0, y0, x1, y1 of a box."""
        if self._quarters == 0:
            return left - self._left, self._top - top, right - self._left, self._top - bottom
        if self._quarters == 1:
            return bottom - self._bottom, left - self._left, top - self._bottom, right - self._left
        if self._quarters == 2:
            return self._right - right, bottom - self._bottom, self._right - left, top - self._bottom
        return self._top - top, self._right - right, self._top - bottom, self._right - left


def read_page(page: pdfium.PdfPage) -> PageWords:
    """Return a page's words and rules; raises UnreadableError if it has more characters than any real page."""
    text = page.get_textpage()
    try:
        count = text.count_chars()
        if count > LARGEST_PAGE:
            raise UnreadableError(f"holds {count:,} characters", f"at most {LARGEST_PAGE:,} a page")
        turned = Turned(page, _quarters(text.raw, count))
        words = _words(text.raw, count, turned)
        heavy = frozenset(
            number for number, word in enumerate(words) if raw.FPDFText_GetFontWeight(text.raw, word.first) >= 600
        )
    finally:
        text.close()
    width, height = turned.size
    return PageWords(words, _rules(page, turned) if words else [], width, height, heavy)


def _quarters(text: Any, count: int) -> int:
    """Return by how many quarters, clockwise, a page must be turned for most of its text to be upright.

    The text decides, not the page's own rotation: tables are set sideways on upright pages too.
    """
    step = max(1, count // _SAMPLED)
    angles = Counter(
        # Its angle is measured clockwise.
        -round(raw.FPDFText_GetCharAngle(text, index) / (math.pi / 2)) % 4
        for index in range(0, count, step)
        if not raw.FPDFText_IsGenerated(text, index)
    )
    return angles.most_common(1)[0][0] if angles else 0


def _words(text: Any, count: int, turned: Turned) -> list[Word]:
    """Join a page's characters to words, in the file's order."""
    box = raw.FS_RECTF()
    reference = ctypes.byref(box)
    width, height = turned.size
    words: list[Word] = []
    open_: Word | None = None
    high = 0
    for index in range(count):
        code = raw.FPDFText_GetUnicode(text, index)
        if 0xD800 <= code < 0xDC00:
            high = code
            continue
        if 0xDC00 <= code < 0xE000:
            code = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00) if high else 0xFFFD
        high = 0
        character = "-" if code == 2 else chr(code)
        if code in _UNUSED:
            continue
        if character.isspace() or ord(character) < 32:
            open_ = None
            continue
        if not raw.FPDFText_GetLooseCharBox(text, index, reference):
            continue
        x0, y0, x1, y1 = turned.box(box.left, box.bottom, box.right, box.top)
        # Also what is not a number.
        if not (x1 >= -1 and x0 <= width + 1 and y1 >= -1 and y0 <= height + 1):
            continue
        tall = y1 - y0
        if (
            open_ is not None
            and abs((y0 + y1) - (open_.y0 + open_.y1)) < tall * 0.5
            and 0.8 * tall <= open_.y1 - open_.y0 <= 1.25 * tall
            and -_OVERLAPPING * tall < x0 - open_.x1 < _JOINED * tall
        ):
            open_.text += character
            open_.x1 = max(open_.x1, x1)
            open_.y0, open_.y1 = min(open_.y0, y0), max(open_.y1, y1)
        else:
            open_ = Word(character, x0, max(x1, x0 + 0.1), y0, y1, index)
            words.append(open_)
    return words


def _rules(page: pdfium.PdfPage, turned: Turned) -> list[Rule]:
    """Return the horizontal rules that are drawn on a page, from the top down; parts that touch are one rule."""
    edges = [ctypes.c_float() for _ in range(4)]
    references = [ctypes.byref(edge) for edge in edges]
    found: list[tuple[float, float, float]] = []
    for number in range(min(raw.FPDFPage_CountObjects(page.raw), LARGEST_DRAWING)):
        drawn = raw.FPDFPage_GetObject(page.raw, number)
        if raw.FPDFPageObj_GetType(drawn) != raw.FPDF_PAGEOBJ_PATH:
            continue
        if not raw.FPDFPageObj_GetBounds(drawn, *references):
            continue
        x0, y0, x1, y1 = turned.box(*(edge.value for edge in edges))
        if y1 - y0 <= _THIN and x1 - x0 >= _SHORTEST_RULE:
            found.append((round((y0 + y1) / 2, 1), x0, x1))
    return _joined(found)


def _joined(parts: list[tuple[float, float, float]]) -> list[Rule]:
    """Join the parts (y, x0, x1) of rules that touch."""
    heights: list[list[tuple[float, float, float]]] = []
    for part in sorted(parts):
        if heights and part[0] - heights[-1][0][0] < 1.0:
            heights[-1].append(part)
        else:
            heights.append([part])
    rules: list[Rule] = []
    for height in heights:
        first = len(rules)
        for y, x0, x1 in sorted(height, key=lambda part: part[1:]):
            if len(rules) > first and x0 - rules[-1].x1 < _TOUCHING:
                rules[-1] = Rule(rules[-1].y, rules[-1].x0, max(rules[-1].x1, x1))
            else:
                rules.append(Rule(y, x0, x1))
    return rules
