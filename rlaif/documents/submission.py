"""Reads a full submission of EDGAR: one text file that holds a filing and its exhibits, each HTML or plain text.

Invariant: pages are numbered through all of its documents; what is no text (images, archives, XBRL's data) is left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rlaif.documents.document import Page, Text
from rlaif.documents.faults import UnreadableError
from rlaif.documents.html import decoded_html, html_pages, is_html
from rlaif.documents.limits import Limits
from rlaif.documents.monospaced import monospaced_pages

_BEGINNING = 16_384
_HEADER = re.compile(rb"^<(?:SEC-DOCUMENT|SEC-HEADER|IMS-DOCUMENT)>|^<DOCUMENT>\s{1,4}<TYPE>", re.MULTILINE)
_DOCUMENT = re.compile(r"^<DOCUMENT>\s*?$(.*?)^</DOCUMENT>", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^<(TYPE|DESCRIPTION)>([^\n]*)$", re.MULTILINE)
_TEXT = re.compile(r"^<TEXT>(.*)</TEXT>", re.MULTILINE | re.DOTALL)
_WRAPPED = re.compile(r"\s*</?(?:XBRL|TEXT)>\s*")
_NO_TEXT = re.compile(
    r"GRAPHIC|ZIP|EXCEL|XML|JSON|COVER|PDF|EX-101.*|EX-10[0-9]\.(?:INS|SCH|CAL|DEF|LAB|PRE)", re.IGNORECASE
)
_DATA = re.compile(r"\s*(?:<XML>|<PDF>|<\?xml(?!.{0,3000}?<html)|begin [0-7]{3} )", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Part:
    kind: str
    description: str
    text: str


def is_submission(data: bytes) -> bool:
    """Return whether a file's beginning is that of a full submission."""
    return _HEADER.search(data[:_BEGINNING]) is not None


def read_submission(data: bytes, limits: Limits) -> tuple[Page, ...]:
    """Return the pages of a submission; raises UnreadableError if it is cut, has no text or is too large."""
    text = decoded_html(data).replace("\r\n", "\n")
    if len(text) > limits.characters:
        raise UnreadableError(f"holds {len(text):,} characters", f"at most {limits.characters:,}")
    if text.count("\n<DOCUMENT>") > text.count("\n</DOCUMENT>"):
        raise UnreadableError("is cut: a document in it does not end")
    pages: list[Page] = []
    for number, part in enumerate(_parts(text)):
        found = _pages(part, limits)
        if number and found:
            named = Text(f"{part.kind} {part.description}".strip(), heading=True)
            found[0] = Page(1, (named, *found[0].blocks))
        pages += [Page(len(pages) + place, page.blocks) for place, page in enumerate(found, start=1)]
        if len(pages) > limits.pages:
            raise UnreadableError(f"has more than {limits.pages:,} pages")
    if not any(page.blocks for page in pages):
        raise UnreadableError("has no text")
    return tuple(pages)


def _parts(text: str) -> Iterator[_Part]:
    """Yield the documents that are text."""
    for found in _DOCUMENT.finditer(text):
        content = _TEXT.search(found[1])
        fields = {name: value.strip() for name, value in _FIELD.findall(found[1][:2000])}
        kind = fields.get("TYPE", "")
        if content is not None and not _NO_TEXT.fullmatch(kind) and not _DATA.match(content[1]):
            yield _Part(kind, fields.get("DESCRIPTION", ""), content[1])


def _pages(part: _Part, limits: Limits) -> list[Page]:
    text = _WRAPPED.sub("\n", part.text, count=2).strip("\n")
    if is_html(text[:4096].encode("utf-8", "replace")):
        return list(html_pages(text, limits))
    return [page for page in monospaced_pages(text, limits) if page.blocks]
