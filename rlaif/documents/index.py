"""An index of chunks on disk: their texts, and BM25 over chunks and over pages.

Layout of an index's folder: `chunks.jsonl` holds the chunks, one a line; `offsets` where each line begins, and
the end; `pages` and `documents` the number of each chunk's page and document; `names.json` the documents' names;
`chunk-*` and `page-*` the postings (see `bm25`); `index.json` the counts and settings.

Invariant: a folder is a whole index or none. The same key and settings give the same folder on every machine.
"""

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlaif.documents.bm25 import Bm25Settings, Floats, Postings, PostingsWriter, mapped
from rlaif.documents.document import Chunk
from rlaif.documents.search_words import query_terms, term_id, term_ids
from rlaif.errors import UserError
from rlaif.io.files import new_folder

FORMAT = "2"
"""Version of the layout and of the terms; another one builds anew."""
NAME_WEIGHT = 3
PAGE_WEIGHT = 0.2


@dataclass(frozen=True, slots=True)
class Hit:
    """A chunk that a search found.

    Attributes:
        score: higher is better; comparable within one search only. None where a reranker could not score it.
        rank: from 1.
    """

    chunk: Chunk
    score: float | None
    rank: int


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What an index computes, part of its identity.

    Attributes:
        bm25: the parameters of BM25.
        name_weight: how many times the document's name counts in each chunk beside the chunk's text, the weight of a
            field as in BM25F (Robertson, Zaragoza & Taylor 2004, "Simple BM25 extension to multiple weighted fields").
        page_weight: from 0 to 1, the share of the page's own score in a chunk's; 0 leaves the page out.
    """

    bm25: Bm25Settings = field(default_factory=Bm25Settings)
    name_weight: int = NAME_WEIGHT
    page_weight: float = PAGE_WEIGHT


class Index:
    """Searches chunks by BM25; see `build` and `open`.

    Attributes:
        folder: where the index is.
        documents: names of the documents, in the order of their first chunks.
    """

    def __init__(self, folder: Path) -> None:
        facts = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.documents: list[str] = json.loads((folder / "names.json").read_text(encoding="utf-8"))
        self._numbers = {name: number for number, name in enumerate(self.documents)}
        self._page_weight = float(facts["settings"]["page_weight"])
        self._count = int(facts["chunks"])
        self._offsets = np.fromfile(folder / "offsets", np.uint64)
        self._document_of = np.fromfile(folder / "documents", np.uint32)
        self._page_of = np.fromfile(folder / "pages", np.uint32)
        self._chunks = Postings(folder, "chunk", self._count)
        self._pages = Postings(folder, "page", int(facts["pages"])) if self._page_weight else None
        self._lines = mapped(folder / "chunks.jsonl", np.dtype(np.uint8))

    def __reduce__(self) -> tuple[type["Index"], tuple[Path]]:
        # Another process maps the same files.
        return Index, (self.folder,)

    @classmethod
    def build(
        cls, root: Path, chunks: Iterable[Chunk], *, key: str, settings: IndexSettings = IndexSettings()
    ) -> "Index":
        """Return the index of chunks, built in a folder below `root` unless it is there.

        Args:
            chunks: read once, and not at all if the index is there. Those of a page follow each other, and so do those
                of a document. A chunk with the id of one before it in the document is left out.
            key: what the chunks depend on: the documents' sha256, the reader's version and the settings of chunks.
        """
        identity = json.dumps([FORMAT, key, asdict(settings)])
        folder = root / hashlib.sha256(identity.encode()).hexdigest()[:32]
        if not (folder / "index.json").is_file():
            with new_folder(folder, shared=True) as work:
                _write(work, chunks, settings)
        return cls(folder)

    @classmethod
    def open(cls, folder: Path) -> "Index":
        """Return the index in a folder that `build` made; UserError if there is none."""
        if not (folder / "index.json").is_file():
            raise UserError(f"{folder}: no index; expected a folder with index.json")
        return cls(folder)

    def __len__(self) -> int:
        return self._count

    @property
    def longest(self) -> int:
        """Bytes of the longest chunk, as it is stored; its text has fewer."""
        return int(np.diff(self._offsets).max(initial=0))

    def chunk(self, number: int) -> Chunk:
        """Return a chunk by its number, from 0."""
        line = self._lines[int(self._offsets[number]) : int(self._offsets[number + 1])]
        return Chunk(**json.loads(line.tobytes()))

    def chunks(self) -> Iterator[Chunk]:
        """Yield all chunks, in the order of their numbers."""
        with open(self.folder / "chunks.jsonl", "rb") as file:
            for line in file:
                yield Chunk(**json.loads(line))

    def search(self, query: str, k: int, document: str | None = None) -> list[Hit]:
        """Return the best chunks of a document, or of all, at most `k`, of those with a term of the query.

        Raises:
            UserError: no chunk is of the document.
        """
        numbers, scores = self.ranked(query, k, document)
        return self.hits(numbers, scores)

    def hits(self, numbers: Iterable[int], scores: Iterable[float]) -> list[Hit]:
        """Return chunks by their numbers as the hits of a search, best first."""
        return [
            Hit(self.chunk(int(number)), float(score), rank)
            for rank, (number, score) in enumerate(zip(numbers, scores, strict=True), start=1)
        ]

    def ranked(self, query: str, k: int, document: str | None = None) -> tuple[NDArray[np.int64], Floats]:
        """Return the numbers and the scores of the best chunks, as `search` does."""
        scores = self.scores(query)
        if document is not None:
            scores = np.where(self.of_document(document), scores, -np.inf)
        return best(scores, k)

    def scores(self, query: str) -> Floats:
        """Return the score of every chunk, (chunks,); -inf without a term of the query."""
        terms = [term_id(term) for term in query_terms(query)]
        scores = weighted = self._chunks.scores(terms)
        if self._pages is not None:
            weighted = (1 - self._page_weight) * scores + self._page_weight * self._pages.scores(terms)[self._page_of]
        return np.where(scores > 0, weighted, np.float32(-np.inf))

    def of_document(self, name: str) -> NDArray[np.bool_]:
        """Return which chunks are of a document, (chunks,); UserError if none is."""
        if name not in self._numbers:
            raise UserError(f"{name}: no such document among the {len(self.documents):,} that are indexed")
        return np.asarray(self._document_of == self._numbers[name])


def best(scores: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the numbers and scores of the k best, best first and of equal ones the earlier first, but none of -inf."""
    k = min(k, len(scores))
    if k < 1:
        return np.zeros(0, np.int64), np.zeros(0, np.float32)
    threshold = np.partition(scores, len(scores) - k)[len(scores) - k]
    found = np.flatnonzero((scores >= threshold) & (scores > -np.inf))
    found = found[np.argsort(-scores[found], kind="stable")][:k]
    return found, scores[found]


def _write(folder: Path, chunks: Iterable[Chunk], settings: IndexSettings) -> None:
    by_chunk = PostingsWriter(folder, "chunk")
    by_page = PostingsWriter(folder, "page") if settings.page_weight else None
    names: dict[str, int] = {}
    offsets, documents, pages = array("Q", [0]), array("I"), array("I")
    page_terms: Counter[int] = Counter()
    seen: set[str] = set()
    document = page = None
    page_count = 0
    with open(folder / "chunks.jsonl", "wb") as file:
        for chunk in chunks:
            if document != (chunk.document, chunk.sha256):
                document = (chunk.document, chunk.sha256)
                seen.clear()
            elif chunk.id in seen:
                continue
            seen.add(chunk.id)
            if page != (document, chunk.page):
                if by_page and page_count:
                    by_page.add(page_terms)
                page, page_terms = (document, chunk.page), Counter()
                page_count += 1
            counts = Counter(term_ids(chunk.text))
            for term in term_ids(chunk.document):
                counts[term] += settings.name_weight
            by_chunk.add(counts)
            page_terms.update(counts)
            line = json.dumps(asdict(chunk), ensure_ascii=False).encode("utf-8", "surrogatepass")
            offsets.append(offsets[-1] + file.write(line + b"\n"))
            documents.append(names.setdefault(chunk.document, len(names)))
            pages.append(page_count - 1)
    by_chunk.finish(settings.bm25)
    if by_page:
        if page_count:
            by_page.add(page_terms)
        by_page.finish(settings.bm25)
    for name, numbers in (("offsets", offsets), ("documents", documents), ("pages", pages)):
        (folder / name).write_bytes(numbers.tobytes())
    (folder / "names.json").write_text(json.dumps(list(names)), encoding="utf-8")
    facts = {"format": FORMAT, "chunks": len(documents), "pages": page_count, "settings": asdict(settings)}
    (folder / "index.json").write_text(json.dumps(facts), encoding="utf-8")
