"""On which pages of a document, and in which of its chunks, the evidence of a question is.

The evidence was often taken from the document by another reader, so runs of five terms are compared and not texts.

Invariant: evidence that no page shares a run of terms with is on no page, never on a guessed one.
"""

from collections.abc import Iterable, Sequence

from rlaif.documents.document import Chunk, Document, Page, Text
from rlaif.documents.search_words import search_terms

RUN = 5
"""Terms of a run."""
_SHARE = 0.1
"""Share of the evidence's runs that a page must have."""
_OF_BEST = 0.5
"""Share of the best page's or chunk's overlap from which another one counts too."""


def evidence_pages(document: Document, evidence: Sequence[str]) -> frozenset[int]:
    """Return the numbers of the pages that share runs of terms with evidence, for each text of it the best ones."""
    pages = {page.number: search_terms(_page_text(page)) for page in document.pages}
    found: set[int] = set()
    for text in evidence:
        wanted = search_terms(text)
        length = min(RUN, len(wanted))
        runs = _runs(wanted, length)
        shared = {number: len(runs & _runs(terms, length)) for number, terms in pages.items()} if runs else {}
        best = max(shared.values(), default=0)
        if best >= max(1, _SHARE * len(runs)):
            found |= {number for number, count in shared.items() if count >= _OF_BEST * best}
    return frozenset(found)


def evidence_chunks(chunks: Iterable[Chunk], evidence: Sequence[str]) -> frozenset[str]:
    """Return the ids of chunks that share the most terms with the evidence, of those on its pages.

    Terms and not runs of them: a chunk of a table repeats the heads of each cell.
    """
    terms = {chunk.id: frozenset(search_terms(chunk.text)) for chunk in chunks}
    found: set[str] = set()
    for text in evidence:
        wanted = frozenset(search_terms(text))
        shared = {id_: len(wanted & has) for id_, has in terms.items()}
        best = max(shared.values(), default=0)
        found |= {id_ for id_, count in shared.items() if best and count >= _OF_BEST * best}
    return frozenset(found)


def _runs(terms: Sequence[str], length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(tuple(terms[start : start + length]) for start in range(len(terms) - length + 1) if length)


def _page_text(page: Page) -> str:
    """Return the text of a page as a plain reader sees it: each row of a table once, without repeated heads."""
    lines: list[str] = []
    for block in page.blocks:
        if isinstance(block, Text):
            lines.append(block.text)
        else:
            lines += [block.title, block.unit, *dict.fromkeys(block.heads)]
            lines += [" ".join([row.label, *row.cells]) for row in block.rows]
            lines += block.notes
    return "\n".join(lines)
