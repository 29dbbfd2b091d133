"""Reads HTML, EDGAR's inline XBRL pages included: text, headings, tables, and pages where the style breaks them.

Invariant: what a browser does not show (scripts, styles, hidden elements, XBRL's header) is not in the document; no
reference to anything outside of the file is followed.
"""

import re
from collections.abc import Iterator
from dataclasses import replace

from selectolax.lexbor import LexborHTMLParser, LexborNode

from rlaif.documents.around_tables import continued, with_context
from rlaif.documents.document import Block, Page, Text
from rlaif.documents.faults import UnreadableError
from rlaif.documents.html_grid import Cell
from rlaif.documents.html_tables import shown_layout, tables_of
from rlaif.documents.limits import Limits
from rlaif.documents.monospaced import monospaced_pages, without_marks
from rlaif.documents.nesting import refuse_deep
from rlaif.documents.plain import decoded

_UNSEEN = frozenset({
    "script", "style", "noscript", "template", "head", "title", "ix:header", "svg", "canvas", "iframe", "object",
    "select", "textarea", "button", "nav", "-comment", "math",
})  # fmt: skip
_BLOCK = frozenset({
    "p", "div", "h1", "h2", "h3", "h4", "h5", "h6", "li", "ul", "ol", "section", "article", "header", "footer", "main",
    "blockquote", "pre", "dt", "dd", "dl", "hr", "center", "body", "form", "fieldset", "figure", "figcaption", "tr",
    "td", "th", "address", "aside", "document", "type", "text", "html", "tbody", "thead", "tfoot", "caption",
})  # fmt: skip
_BOLD = frozenset({"b", "strong", "h1", "h2", "h3", "h4", "h5", "h6", "th"})
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEAVY = re.compile(r"font-weight\s*:\s*(?:bold|[6-9]00)", re.IGNORECASE)
_LIGHT = re.compile(r"font-weight\s*:\s*(?:normal|[1-5]00)", re.IGNORECASE)
_BREAK_BEFORE = re.compile(r"(?:page-)?break-before\s*:\s*(?:always|page|left|right)", re.IGNORECASE)
_BREAK_AFTER = re.compile(r"(?:page-)?break-after\s*:\s*(?:always|page|left|right)", re.IGNORECASE)
_CHARSET = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?\s*([\w-]{2,20})|<\?xml[^>]{0,80}encoding=[\"']([\w-]{2,20})"
)
_LOOKS = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|div|p|table|span|font|h[1-6]|ix:|title|meta|center|b|br|hr|ul|ol|a|script)\b",
    re.IGNORECASE,
)
_PRE = re.compile(r"<pre\b[^>]*>(.*?)</pre>", re.IGNORECASE | re.DOTALL)
_SPACES = re.compile(r"\s+")
_PAGE_NUMBER = re.compile(r"(?:page\s*)?(?:[A-Z]{1,2}-)?\d{1,4}|table of contents", re.IGNORECASE)
_LONGEST_HEADING = 150


def is_html(data: bytes) -> bool:
    """Return whether a file's beginning is that of HTML."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"<") and _LOOKS.search(head) is not None


def read_html(data: bytes, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of HTML; raises UnreadableError if it has no text or is too large."""
    text = decoded_html(data)
    if len(text) > limits.characters:
        raise UnreadableError(f"holds {len(text):,} characters", f"at most {limits.characters:,}")
    pages = html_pages(text, limits)
    if not pages:
        raise UnreadableError("has no text")
    return pages


def html_pages(text: str, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of HTML that have text; raises UnreadableError if there are too many."""
    refuse_deep(text)
    # EDGAR's marks in preformatted text are no elements of HTML.
    body = LexborHTMLParser(_PRE.sub(lambda pre: f"<pre>{without_marks(pre[1])}</pre>", text)).body
    reader = _Reader(limits)
    if body is not None:
        reader.read(body)
    pages = reader.pages()
    if len(pages) > limits.pages:
        raise UnreadableError(f"has {len(pages):,} pages", f"at most {limits.pages:,}")
    return tuple(Page(number, tuple(blocks)) for number, blocks in enumerate(pages, start=1))


def decoded_html(data: bytes) -> str:
    """Return the text of HTML in its declared encoding, or, as browsers take it, in UTF-8 or Windows' Latin-1."""
    found = _CHARSET.search(data[:4096])
    if found is not None and not data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        encoding = (found[1] or found[2]).decode("ascii")
        encoding = "cp1252" if encoding.lower() in ("ascii", "us-ascii", "iso-8859-1", "latin-1") else encoding
        try:
            return data.decode(encoding, "replace")
        except LookupError:
            pass
    try:
        return decoded(data)
    except UnreadableError:
        if b"\0" in data:
            raise
        return data.decode("cp1252", "replace")


class _Reader:
    """Walks the tree and gathers blocks; it never recurses, however deep the tree is."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pages: list[list[Block]] = [[]]
        self._inline: list[str] = []
        self._bold = self._light = 0

    def read(self, root: LexborNode) -> None:
        """Read an element with all within it."""
        # Each open element: its node, and whether its text is bold.
        stack: list[tuple[LexborNode, bool]] = []
        node: LexborNode | None = root
        while node is not None:
            entered = self._enter(node, stack[-1][1] if stack else False)
            if entered is not None and node.first_child is not None:
                stack.append((node, entered))
                node = node.first_child
                continue
            self._leave(node)
            while node is not None and node.next is None and stack:
                node = stack.pop()[0]
                self._leave(node)
            node = node.next if node is not None and stack else None
        self._flush()

    def pages(self) -> list[list[Block]]:
        """Return the blocks of each page that has some, without page numbers at the ends of pages."""
        pages = [_without_number(page) for page in self._pages] if len(self._pages) > 1 else self._pages
        return continued([with_context(page) for page in pages if page])

    def _enter(self, node: LexborNode, bold: bool) -> bool | None:
        """Take what is at the beginning of a node; return whether the text in it is bold, or None to pass over it."""
        tag = node.tag or ""
        if tag == "-text":
            self._add(node.text_content or "", bold)
            return None
        if tag in _UNSEEN or tag.startswith(("-", "!", "ix:hidden", "ix:references", "ix:resources")):
            return None
        if _is_hidden(node):
            return None
        style = node.attributes.get("style") or ""
        if tag in _BLOCK or tag == "table":
            self._flush()
        elif tag == "br":
            self._inline.append("\n")
        elif tag in ("sup", "sub"):
            self._inline.append("\u200b")
        if _BREAK_BEFORE.search(style):
            self._new_page()
        if tag == "pre":
            self._preformatted(node.text())
            return None
        if tag == "table" and node.css_first("table table") is None and self._table(node):
            return None
        return not _LIGHT.search(style) and (bold or tag in _BOLD or _HEAVY.search(style) is not None)

    def _leave(self, node: LexborNode) -> None:
        tag = node.tag or ""
        if tag in _BLOCK or tag == "table":
            self._flush()
        if not tag.startswith("-") and _BREAK_AFTER.search(node.attributes.get("style") or ""):
            self._new_page()

    def _preformatted(self, text: str) -> None:
        for number, page in enumerate(monospaced_pages(text, self._limits)):
            if number:
                self._new_page()
            self._pages[-1] += page.blocks

    def _new_page(self) -> None:
        self._flush()
        if self._pages[-1]:
            self._pages.append([])

    def _add(self, text: str, bold: bool) -> None:
        self._inline.append(text)
        size = len(text.strip())
        if bold:
            self._bold += size
        else:
            self._light += size

    def _flush(self) -> None:
        text = _joined("".join(self._inline))
        heading = bool(text) and not self._light and self._bold > 0 and len(text) <= _LONGEST_HEADING
        self._inline, self._bold, self._light = [], 0, 0
        if text:
            self._pages[-1].append(Text(text, heading and not text.endswith(".")))

    def _table(self, node: LexborNode) -> bool:
        """Take a table that has none within it; return whether it was one of figures or words, not of layout."""
        written = [list(_cells(row)) for row in node.css("tr") if not _is_hidden(row)]
        tables = tables_of(written)
        if tables is None:
            if any(len(cell.text) > 1_000 for row in written for cell in row):
                return False
            self._pages[-1] += [Text(text) for text in shown_layout(written)]
            return True
        caption = node.css_first("caption")
        title = _joined(caption.text(separator=" ")) if caption is not None else ""
        for table in tables:
            self._pages[-1].append(replace(table, title=", ".join(filter(None, (title, table.title)))))
        return True


def _is_hidden(node: LexborNode) -> bool:
    attributes = node.attributes
    return "hidden" in attributes or _HIDDEN.search(attributes.get("style") or "") is not None


def _cells(row: LexborNode) -> Iterator[Cell]:
    node = row.first_child
    while node is not None:
        if node.tag in ("td", "th") and not _is_hidden(node):
            columns, rows = (_count(node.attributes.get(name)) for name in ("colspan", "rowspan"))
            yield Cell(_cell_text(node), columns, rows, node.tag == "th")
        node = node.next


def _cell_text(cell: LexborNode) -> str:
    """Return the text of a cell, its lines joined by spaces and without what is hidden in it."""
    parts: list[str] = []
    for node in cell.traverse(include_text=True):
        if node.tag == "-text":
            if not _within_hidden(node, cell):
                parts.append(node.text_content or "")
        elif node.tag in ("br", "p", "div", "li"):
            parts.append(" ")
    return _joined("".join(parts)).replace("\n", " ")


def _within_hidden(node: LexborNode, cell: LexborNode) -> bool:
    """Whether an element between a text and its cell is hidden."""
    parent = node.parent
    while parent is not None and parent.mem_id != cell.mem_id:
        if _is_hidden(parent):
            return True
        parent = parent.parent
    return False


def _count(value: str | None) -> int:
    return int(value) if value is not None and value.isascii() and value.strip().isdigit() and len(value) < 6 else 1


def _joined(text: str) -> str:
    lines = (_SPACES.sub(" ", line.replace("\xa0", " ").replace("\u200b", "")).strip() for line in text.split("\n"))
    return " ".join(filter(None, lines))


def _without_number(page: list[Block]) -> list[Block]:
    """Return a page without its number and the link back to the contents, at its beginning and end."""

    def is_number(block: Block) -> bool:
        return isinstance(block, Text) and _PAGE_NUMBER.fullmatch(block.text) is not None

    start, end = 0, len(page)
    while start < end and is_number(page[start]):
        start += 1
    while end > start and is_number(page[end - 1]):
        end -= 1
    return page[start:end]
