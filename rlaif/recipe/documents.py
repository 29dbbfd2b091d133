"""The documents that questions are about, and how the context of a question is retrieved from them."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.recipe.base import Section


class DocumentsSection(Section):
    """Contexts from documents, for questions that bring none."""

    folder: str | None = Field(default=None, min_length=1)
    """Folder or fsspec URL of the documents, with the folders in it: PDF, HTML, text and Markdown. A question's
    document is the file of that name, with or without its ending, or of its link's name; else the document is read as a
    path of its own."""
    max_mib: float = Field(default=64.0, gt=0, le=1024)
    """Largest document that is read, in MiB."""
    contexts: Literal["retrieved", "gold"] = "retrieved"
    """`retrieved` searches the documents. `gold` takes each question's evidence as its context and reads no document:
    what a perfect search would give."""
    scope: Literal["document", "all"] = "document"
    """`document` searches the question's own document, `all` every document of the folder."""
    top_k: int | None = Field(default=3, ge=1, le=1000)
    """Most chunks of a context, the best first; null leaves it to `max_tokens`."""
    max_tokens: int | None = Field(default=None, ge=16)
    """Most tokens of a context, as the policy counts them; a chunk that does not fit is passed over. null leaves it to
    `top_k`."""
    chunk_words: int = Field(default=200, ge=20, le=2000)
    """Words of a chunk of prose; a table is cut between its rows."""
    page_weight: float = Field(default=0.2, ge=0, le=1)
    """Share of the page's own BM25 score in that of a chunk."""
    withheld: float = Field(default=0.0, ge=0, lt=1)
    """Share of the train questions whose contexts are retrieved without the evidence, and whose gold answer is
    `refusal`. They are drawn by a hash of `seed` and id, the same in every round. A question whose evidence is known
    neither from its columns nor from its gold answer is never among them."""
    withheld_heldout: float = Field(default=0.0, ge=0, lt=1)
    """The same of the held-out questions."""
    refusal: str = Field(default="The documents do not say.", min_length=2)
    """What a policy is to answer where the evidence was withheld: learned in rounds of demonstrations, and right to
    judges that know the gold answer."""

    @model_validator(mode="after")
    def _is_complete(self) -> "DocumentsSection":
        if self.contexts == "gold":
            return self
        if self.folder is None and self.scope == "all":
            raise ValueError("folder: expected the folder of the documents that `scope: all` searches")
        if self.top_k is None and self.max_tokens is None:
            raise ValueError("top_k: expected a number of chunks, or max_tokens")
        return self
