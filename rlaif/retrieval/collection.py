"""The documents of a run, read and indexed once: what its contexts are searched in.

Invariant: an index is of exactly the documents whose sha256 its key names, as one version of the reader reads them.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Chunk, Document
from rlaif.documents.index import Index, IndexSettings
from rlaif.documents.limits import Limits
from rlaif.documents.reading import READER, read_document, sha256_of
from rlaif.errors import UserError
from rlaif.io.files import cache_folder, read_bytes
from rlaif.progress import Progress
from rlaif.recipe.documents import DocumentsSection
from rlaif.store.records.documents_record import ReadDocument


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents that are read, or that could not be.

    Attributes:
        documents: all of them, by name.
        searcher: of those that were read; None where none was.
    """

    documents: dict[str, ReadDocument]
    searcher: Index | None


def open_collection(paths: Mapping[str, str], section: DocumentsSection, progress: Progress) -> Collection:
    """Read documents and return what searches them; what was read and indexed before is not read again.

    Args:
        paths: of the documents, by their names.
    """
    limits = Limits(bytes=int(section.max_mib * (1 << 20)))
    documents = {name: ReadDocument(path=path, sha256=_sha256(path)) for name, path in paths.items()}

    def chunks() -> Iterator[Chunk]:
        progress.stage("read documents", len(paths))
        for name, path in paths.items():
            document = _read(name, path, limits)
            if isinstance(document, Document):
                yield from chunks_of(document, section.chunk_words)
            progress.advance()

    facts = [READER, section.chunk_words, sorted((name, each.sha256) for name, each in documents.items())]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    settings = IndexSettings(page_weight=section.page_weight)
    index = Index.build(cache_folder() / "documents" / "indexes", chunks(), key=key, settings=settings)
    # What an index lacks could not be read.
    for name in paths.keys() - set(index.documents):
        found = _read(name, paths[name], limits)
        reason = "it has no text" if isinstance(found, Document) else found
        documents[name] = documents[name].model_copy(update={"reason": reason})
    return Collection(documents, index if index.documents else None)


def _sha256(path: str) -> str | None:
    data = read_bytes(path)
    return None if data is None else sha256_of(data)


def _read(name: str, path: str, limits: Limits) -> Document | str:
    """Return a document, or why it cannot be read."""
    data = read_bytes(path)
    if data is None:
        return "no such file"
    try:
        return read_document(data, name, limits)
    except UserError as error:
        return str(error).removeprefix(f"{name}: ")
