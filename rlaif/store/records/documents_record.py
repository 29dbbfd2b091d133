"""`prompts/documents.json`: what the contexts of a run were retrieved from, beside `prompts/contexts.parquet`."""

from typing import Literal

from pydantic import Field

from rlaif.store.records.record import Record, RecordPart


class ReadDocument(RecordPart):
    """A document that was read, or that could not be."""

    path: str
    """Where it was: a path, a URL or a link."""
    sha256: str | None
    """Of its bytes; None where they could not be read."""
    reason: str = ""
    """Why it could not be read; "" of one that was."""


class RetrievedSet(RecordPart):
    """The contexts of a set of questions."""

    sha: str
    """sha256 of the questions as their source has them."""
    retrieved: int
    """Questions with a retrieved context."""
    withheld: tuple[str, ...] = ()
    """Ids of those whose evidence was left out."""
    unasked: dict[str, str] = Field(default_factory=dict)
    """Ids of those without a context, each with the reason; they are not asked."""


class SearchModel(RecordPart):
    """A model or a judge that a searcher asks."""

    name: str
    """As the recipe names it."""
    id: str
    """sha256 of the model's weights, or of what decides the judge's verdicts."""


class SearcherRecord(RecordPart):
    """What found the contexts."""

    method: Literal["bm25", "encoder", "fused"] = "bm25"
    encoder: SearchModel | None = None
    rerank: SearchModel | None = None


class DocumentsRecord(Record):
    """The documents and contexts of a run. A run is not continued with others."""

    layout: Literal[1] = 1
    reader: str
    """Version of the reader of documents."""
    searcher: SearcherRecord = SearcherRecord()
    """What found the contexts; by default what found those of files that do not say it."""
    documents: dict[str, ReadDocument]
    """By name."""
    sets: dict[str, RetrievedSet]
    """`train`, `heldout` and, where the recipe names one, `test`."""

    @property
    def unread(self) -> dict[str, str]:
        """Why documents could not be read, by name."""
        return {name: document.reason for name, document in self.documents.items() if document.reason}
