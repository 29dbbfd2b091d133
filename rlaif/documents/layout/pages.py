"""Pages of text and tables from lines and rules that have places, without page numbers and running heads.

Invariant: a line is in one block of its page, unless it is a page number or is repeated on many pages.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.documents.document import Block, Page, Table
from rlaif.documents.figures import is_unit
from rlaif.documents.layout.lines import Line
from rlaif.documents.layout.paragraphs import texts_of, usual_height
from rlaif.documents.layout.reading_order import in_columns
from rlaif.documents.layout.tables import Found, find_tables
from rlaif.documents.layout.words import Rule

_EDGE = 3
"""Lines at a page's top and bottom among which running heads and page numbers are."""
_OFTEN = 3
"""Pages on which a line is repeated that is a running head."""
_PAGE_NUMBER = re.compile(
    r"(?:page\s*)?[-–—\s]*(?:[A-Z]{1,2}-)?(?:\d{1,4}|[ivxl]{1,7})[-–—\s]*(?:\s*(?:of|/)\s*\d{1,4})?|table of contents",
    re.IGNORECASE,
)
_HEAD = re.compile(
    r"(?:for the )?(?:[\w-]+ ){0,2}(?:months?|weeks?|quarters?|years?) end(?:ed|ing)(?: \w+ \d{1,2},?)?"
    r"|(?:as of )?[A-Z][a-z]{2,8}\.? \d{1,2},?", re.IGNORECASE,
)  # fmt: skip
"""A period or a day without its year: a head of a table that begins a page, not of the page."""
_DIGITS = re.compile(r"\d+")
_SAME_PLACE = 30.0
"""Points that columns of a table's second part may be beside those of its first."""


@dataclass(slots=True)
class RawPage:
    """A page's lines, from the top down, and rules; its size in points."""

    lines: list[Line]
    rules: list[Rule]
    width: float
    height: float


def pages_of(raw: Sequence[RawPage]) -> tuple[Page, ...]:
    """Return the pages, numbered from 1."""
    running = _running(raw)
    for page in raw:
        page.lines = _without_running(page, running)
    usual = usual_height([line for page in raw for line in page.lines])
    pages: list[Page] = []
    above: tuple[Found, Table] | None = None
    for number, page in enumerate(raw, start=1):
        blocks, above = _blocks(page, usual, above)
        pages.append(Page(number, blocks))
    return tuple(pages)


def _running(pages: Sequence[RawPage]) -> set[str]:
    """Return the lines, with their numbers blanked, that are repeated at the edges of pages."""
    seen = Counter(key for page in pages for key in {_key(line) for line in _edges(page) if _may_run(line)})
    return {key for key, count in seen.items() if count >= max(_OFTEN, len(pages) // 8)}


def _may_run(line: Line) -> bool:
    """Whether a line may be a running head: neither the unit, nor the years, nor a row of a table.

    Statements begin alike on many pages, and their first lines must not be lost.
    """
    if len(line.segments) > 3 or is_unit(line.text) or line.of_years:
        return False
    if all(_HEAD.fullmatch(segment.text) for segment in line.segments):
        return False
    cells = [segment.text for segment in line.segments if segment.cell]
    return not cells or (len(cells) == 1 and _PAGE_NUMBER.fullmatch(cells[0]) is not None)


def _edges(page: RawPage) -> list[Line]:
    return [
        line
        for line in {id(line): line for line in [*page.lines[:_EDGE], *page.lines[-_EDGE:]]}.values()
        if line.y1 < 0.12 * page.height or line.y0 > 0.88 * page.height
    ]


def _key(line: Line) -> str:
    return _DIGITS.sub("#", line.text)


def _without_running(page: RawPage, running: set[str]) -> list[Line]:
    edges = {id(line) for line in _edges(page)}
    last = page.lines[-1:] if page.lines else []
    kept = []
    for line in page.lines:
        at_edge = id(line) in edges
        number = _PAGE_NUMBER.fullmatch(line.text) is not None
        if at_edge and (number or _key(line) in running):
            continue
        # A page number may be far from the edge on a page that ends early.
        if line in last and number and len(page.lines) > 1 and line.y0 - page.lines[-2].y1 > line.height:
            continue
        kept.append(line)
    return kept


def _blocks(
    page: RawPage, usual: float, above: tuple[Found, Table] | None
) -> tuple[tuple[Block, ...], tuple[Found, Table] | None]:
    """Return a page's blocks, and the table that ends it and may go on on the next.

    Args:
        above: the table that ends the page before.
    """
    lines = in_columns(page.lines, page.width)
    tables = find_tables(lines, page.rules, page.width)
    blocks: list[Block] = []
    start = 0
    table: Table | None = None
    for place, found in enumerate(tables):
        blocks += texts_of(lines[start : found.lines.start], usual)
        if place == 0 and above is not None and found.lines.start <= 1:
            _continue(found, *above)
        elif place and table is not None and start == found.lines.start:
            # Right below a table, without a title of its own: it is of the same.
            _continue(found, tables[place - 1], table)
            found.titles = found.titles or [table.title]
            found.unit = found.unit or table.unit
        table = found.table()
        blocks.append(table)
        start = found.lines.stop
    rest = texts_of(lines[start:], usual)
    ends = bool(tables) and not rest and not tables[-1].notes
    return (*blocks, *rest), (tables[-1], table) if ends and table is not None else None


def _continue(found: Found, above: Found, table: Table) -> None:
    """Give a table the heads, unit and title of the one before it, on its page or the one before, if it goes on."""
    same = len(found.columns) == len(above.columns) and all(
        abs(a.x1 - b.x1) < _SAME_PLACE for a, b in zip(found.columns, above.columns, strict=True)
    )
    if not same:
        return
    if not found.headed:
        found.heads = list(table.heads)
        found.titles = found.titles or [table.title]
    found.unit = found.unit or table.unit
    if not found.titles:
        found.titles = [table.title]
