"""Text whose tables are set with spaces, as filings of the 1990s and 2000s are, read like a printed page.

Each character has the same width, so columns are places; lines of dashes are rules. EDGAR's own marks are left out:
`<PAGE>` ends a page, `<TABLE>`, `<CAPTION>`, `<S>` and `<C>` lay tables out.
Invariant: each word is in a block, but for page numbers, lines repeated on many pages, and rules.
"""

import re
from collections.abc import Iterator

from rlaif.documents.document import Page
from rlaif.documents.faults import UnreadableError
from rlaif.documents.layout.lines import lines_of
from rlaif.documents.layout.pages import RawPage, pages_of
from rlaif.documents.layout.words import PageWords, Rule, Word
from rlaif.documents.limits import Limits

_WIDTH, _HEIGHT, _STEP = 5.0, 10.0, 12.0
"""Points of a character and from a line to the next: a space is within a phrase, and two are between columns."""
_MARGIN = 72.0
_PAGE_END = re.compile(r"^[ \t]*</?PAGE>.*$|\f", re.IGNORECASE | re.MULTILINE)
_MARKS = re.compile(r"</?(?:TABLE|CAPTION|S|C|FN|F\d{1,2}|BR|B|I|U|HR|PRE|CENTER|P)>", re.IGNORECASE)
_NOTE_MARK = re.compile(r"<F(\d{1,2})>", re.IGNORECASE)
_OF_COLUMNS = re.compile(r"^[ \t]*<S>.*<C>.*$\n?", re.IGNORECASE | re.MULTILINE)
_MARKS_ALONE = re.compile(r"^(?:[ \t]*</?(?:TABLE|CAPTION|FN|BR)>)+[ \t]*$\n?", re.IGNORECASE | re.MULTILINE)
_RULE = re.compile(r"[-=_]{3,}|[-=_]{2}(?=\s)")
_ESCAPED = re.compile(r"^- (?=-)", re.MULTILINE)
"""How lines of dashes were written in EDGAR's first years, so that mail would not take them for its own."""
_WORDS = re.compile(r"\S+")
_LEADER = re.compile(r"\.{3,}|(?: \.){3,}")


def has_marks(text: str) -> bool:
    """Return whether a text has EDGAR's marks of columns or pages on lines of their own."""
    return _OF_COLUMNS.search(text) is not None or re.search(r"^<PAGE>", text, re.MULTILINE) is not None


def without_marks(text: str) -> str:
    """Return text without EDGAR's marks, pages ended by form feeds."""
    text = _OF_COLUMNS.sub("", _MARKS_ALONE.sub("", _PAGE_END.sub("\f", _ESCAPED.sub("  ", text))))
    return _MARKS.sub("", _NOTE_MARK.sub(r"(\1)", text))


def monospaced_pages(text: str, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of a text in characters of one width; raises UnreadableError if there are too many."""
    pages = without_marks(text).split("\f")
    if len(pages) > limits.pages:
        raise UnreadableError(f"has {len(pages):,} pages", f"at most {limits.pages:,}")
    return pages_of([_page(page) for page in pages])


def _page(text: str) -> RawPage:
    words: list[Word] = []
    rules: list[Rule] = []
    lines = text.expandtabs(8).splitlines()
    y = _MARGIN
    for line in lines:
        if line.strip() and not _RULE.sub("", line + " ").strip():
            for found in _RULE.finditer(line + " "):
                # Where a printed rule is, which takes no line.
                rules.append(Rule(y - 1, _MARGIN + found.start() * _WIDTH, _MARGIN + found.end() * _WIDTH))
            continue
        words += _words(_LEADER.sub(lambda dots: " " * len(dots[0]), line), y, len(words))
        y += _STEP
    width = 2 * _MARGIN + _WIDTH * max(map(len, lines), default=0)
    height = y + _MARGIN
    return RawPage(lines_of(PageWords(words, rules, width, height, frozenset())), rules, width, height)


def _words(line: str, y: float, first: int) -> Iterator[Word]:
    for number, found in enumerate(_WORDS.finditer(line), first):
        x0, x1 = (_MARGIN + place * _WIDTH for place in found.span())
        yield Word(found[0], x0, x1, y, y + _HEIGHT, number)
