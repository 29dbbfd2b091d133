"""What searchers are measured on: documents, evidence as chunks of its own, and other passages among them.

Invariant: each question's truth is in the corpus, or the question is left out and named.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlaif.documents.cache import DocumentCache
from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Chunk, Document
from rlaif.documents.index import Index, IndexSettings
from rlaif.documents.links import Link, find_documents
from rlaif.documents.names import document_name, is_link
from rlaif.errors import Fault, UserError
from rlaif.progress import Progress
from rlaif.retrieval.evidence_pages import evidence_chunks, evidence_pages
from rlaif.retrieval.evidence_questions import EvidenceQuestion
from rlaif.retrieval.library import read_library

Passage = tuple[str, str]
"""The document's name, or "", and a text."""


@dataclass(frozen=True, slots=True)
class Truth:
    """Where the evidence of a question is.

    Attributes:
        document: its name in the index.
        pages: of the document.
        chunks: ids; empty where only the page is known.
    """

    document: str
    pages: frozenset[int]
    chunks: frozenset[str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """An index, and where in it the evidence of questions is.

    Attributes:
        truths: by the question's id.
        left_out: why the other questions have none, by id.
    """

    index: Index
    truths: dict[str, Truth]
    left_out: dict[str, str]


class Documents:
    """Reads the documents at paths, as often as it is called; what cannot be read is said once.

    Args:
        paths: of files and folders, or fsspec URLs.

    Raises:
        UserError: none of the paths has a document.
    """

    def __init__(self, paths: Sequence[str], progress: Progress) -> None:
        self._links = find_documents(paths)
        self._progress = progress
        self._unread: set[str] = set()
        if paths and not any(isinstance(link, Link) for link in self._links):
            raise UserError(*(link for link in self._links if isinstance(link, Fault)))

    def __call__(self) -> Iterator[Document]:
        for outcome in read_library(self._links, cache=DocumentCache()):
            if not isinstance(outcome, Fault):
                yield outcome
            elif str(outcome) not in self._unread:
                self._unread.add(str(outcome))
                self._progress.say(str(outcome))


def build_corpus(
    root: Path,
    questions: Sequence[EvidenceQuestion],
    documents: Callable[[], Iterable[Document]],
    among: Sequence[Passage],
    *,
    chunk_words: int,
    settings: IndexSettings,
) -> Corpus:
    """Return the index of documents, of the evidence of questions on others, and of passages, with the truths.

    Args:
        documents: yields the documents; called twice, so that none has to stay in memory.
        among: other passages; equal ones count once.
    """
    by_document: dict[str, list[EvidenceQuestion]] = {}
    for question in questions:
        for name in {_key(name) for name in question.documents}:
            by_document.setdefault(name, []).append(question)
    truths: dict[str, Truth] = {}
    left_out: dict[str, str] = {}
    facts: list[tuple[str, str]] = []
    for document in documents():
        facts.append((document.name, f"{document.sha256} {document.reader}"))
        asked = [question for question in by_document.get(_key(document.name), ()) if question.id not in truths]
        chunks = chunks_of(document, chunk_words) if asked else []
        for question in asked:
            pages = frozenset(question.pages) or evidence_pages(document, question.evidence)
            on_pages = [chunk for chunk in chunks if chunk.page in pages]
            if on_pages:
                found = evidence_chunks(on_pages, question.evidence)
                truths[question.id] = Truth(document.name, pages, found)
            else:
                where = f"page {min(pages)} of it has no text" if pages else "its evidence is on no page of it"
                left_out[question.id] = f"{document.name}: {where}"
    others = [question for question in questions if question.id not in truths and question.id not in left_out]
    passages: dict[Passage, Chunk] = {}
    for question in others:
        if not question.evidence:
            name = question.documents[0] if question.documents else "its document"
            left_out[question.id] = f"{name} is not among the documents, and its evidence is not given"
            continue
        name = _shown_name(question)
        chunks = [_as_chunk(passages, name, text) for text in question.evidence]
        truths[question.id] = Truth(
            name, frozenset(chunk.page for chunk in chunks), frozenset(chunk.id for chunk in chunks)
        )
    for name, text in among:
        _as_chunk(passages, name, text)
    if not truths:
        raise UserError("no question's evidence is in the documents; expected at least one")
    facts += [(chunk.id, "") for chunk in passages.values()]
    key = hashlib.sha256(json.dumps([chunk_words, facts]).encode()).hexdigest()

    def chunks_of_all() -> Iterator[Chunk]:
        for document in documents():
            yield from chunks_of(document, chunk_words)
        # Those of one document follow each other.
        yield from sorted(passages.values(), key=lambda chunk: (chunk.document, chunk.page))

    return Corpus(Index.build(root, chunks_of_all(), key=key, settings=settings), truths, left_out)


def _as_chunk(passages: dict[Passage, Chunk], name: str, text: str) -> Chunk:
    """Return the chunk of a passage, on a page of its own; equal passages of a document are one chunk."""
    if (name, text) not in passages:
        made = hashlib.sha256(f"{name}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
        shown = f"{name}\n{text}" if name else text
        passages[name, text] = Chunk(made[:16], name, "", len(passages) + 1, 0, shown)
    return passages[name, text]


def _shown_name(question: EvidenceQuestion) -> str:
    """Return the name of a question's document; the last part of its link where it has no name, "" without either."""
    if not question.documents:
        return ""
    name = question.documents[0]
    return document_name(name) if is_link(name) else name


def _key(name: str) -> str:
    return document_name(name).casefold()
