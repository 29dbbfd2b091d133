"""The documents of a run, fetched, read and indexed once: what its contexts are searched in.

Invariant: nothing is fetched unless the recipe says so and who fetches. An index is of exactly the documents whose
sha256 its key names, as one version of the reader reads them.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlaif.documents.cache import DocumentCache
from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Chunk, Document
from rlaif.documents.fetching import Fetcher, FetchSettings
from rlaif.documents.index import Index, IndexSettings
from rlaif.documents.limits import Limits
from rlaif.documents.links import Link
from rlaif.documents.names import is_link
from rlaif.documents.reading import READER, sha256_of
from rlaif.errors import Fault, UserError
from rlaif.io.files import cache_folder
from rlaif.progress import Progress
from rlaif.recipe.documents import DocumentsSection
from rlaif.retrieval.library import Outcome, read_library
from rlaif.store.records.documents_record import ReadDocument


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents that are read, or that could not be.

    Attributes:
        documents: all of them, by name.
        index: of those that were read; None where none was.
    """

    documents: dict[str, ReadDocument]
    index: Index | None


Read = Callable[[Iterable[Link]], Iterator[Outcome]]


def open_collection(paths: Mapping[str, str], section: DocumentsSection, progress: Progress) -> Collection:
    """Fetch, read and index documents; what was fetched, read and indexed before is taken from the cache folder.

    Args:
        paths: of the documents, or their links, by their names.
    """
    limits = Limits(bytes=int(section.max_mib * (1 << 20)))
    fetcher = None
    if section.fetch and section.user_agent is not None:
        fetcher = Fetcher(FetchSettings(section.user_agent, section.fetch_per_second, bytes=limits.bytes))
    links = {name: Link(name, path) for name, path in paths.items()}
    if far := sum(is_link(path) for path in paths.values()):
        progress.stage("fetch documents", far)
    documents = {}
    for name, link in links.items():
        documents[name] = _known(link, fetcher, limits.bytes)
        if is_link(link.path):
            progress.advance()
    there = [links[name] for name, document in documents.items() if document.sha256]

    def read(wanted: Iterable[Link]) -> Iterator[Outcome]:
        return read_library(wanted, limits=limits, fetcher=fetcher, cache=DocumentCache())

    def chunks() -> Iterator[Chunk]:
        progress.stage("read documents", len(there))
        for outcome in read(there):
            if isinstance(outcome, Document):
                yield from chunks_of(outcome, section.chunk_words)
            progress.advance()

    def indexed(*facts: object) -> Index:
        known = sorted((name, each.sha256) for name, each in documents.items())
        key = hashlib.sha256(json.dumps([READER, section.chunk_words, known, *facts]).encode()).hexdigest()
        settings = IndexSettings(page_weight=section.page_weight)
        return Index.build(cache_folder() / "documents" / "indexes", chunks(), key=key, settings=settings)

    index = indexed()
    unread, recovered = _unread(index, there, section.chunk_words, read)
    if recovered:
        # What a busy machine could not read in time when the index was built can be read now.
        index = indexed(sorted(recovered))
        unread, _ = _unread(index, there, section.chunk_words, read)
    for name, reason in unread.items():
        documents[name] = documents[name].model_copy(update={"reason": reason})
    return Collection(documents, index if index.documents else None)


def _unread(index: Index, links: Sequence[Link], chunk_words: int, read: Read) -> tuple[dict[str, str], list[str]]:
    """Return why documents that an index lacks cannot be read, by name, and the names of those that can be."""
    known = set(index.documents)
    lacking = [link for link in links if link.name not in known]
    unread, recovered = {}, []
    for link, outcome in zip(lacking, read(lacking), strict=True):
        if isinstance(outcome, Fault):
            unread[link.name] = _reason(outcome)
        elif chunks_of(outcome, chunk_words):
            recovered.append(link.name)
        else:
            unread[link.name] = "it has no text"
    return unread, recovered


def _known(link: Link, fetcher: Fetcher | None, most: int) -> ReadDocument:
    """Return the hash of a document, or why its bytes could not be read or fetched."""
    try:
        return ReadDocument(path=link.path, sha256=sha256_of(link.content(fetcher, most)))
    except UserError as error:
        reason = _reason(error.faults[0]) if error.faults else str(error)
        return ReadDocument(path=link.path, sha256=None, reason=reason)


def _reason(fault: Fault) -> str:
    """Return a fault without its document, which is named beside it."""
    return fault.problem + (f"; expected {fault.expected}" if fault.expected else "")
