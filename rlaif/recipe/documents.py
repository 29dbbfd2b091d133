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
    paths: tuple[str, ...] = ()
    """More documents: files, folders and fsspec URLs and, with `fetch`, web addresses."""
    fetch: bool = False
    """Whether a document that is not among these is fetched from the question's link, by https. Each link is fetched
    once and kept in the cache folder."""
    user_agent: str | None = Field(default=None, min_length=1)
    """Who fetches, with an email address, as servers ask for it: `Acme research ann@example.org`. `fetch` needs it."""
    fetch_per_second: float = Field(default=8.0, gt=0, le=10)
    """Most requests a second, over all servers. The SEC refuses who sends more than ten."""
    max_mib: float = Field(default=64.0, gt=0, le=1024)
    """Largest document that is read, in MiB."""
    contexts: Literal["retrieved", "gold"] = "retrieved"
    """`retrieved` searches the documents. `gold` takes each question's evidence as its context and reads no document:
    what a perfect search would give."""
    scope: Literal["document", "all"] = "document"
    """`document` searches the question's own document, `all` every document of `folder` and `paths` and, with `fetch`,
    of the questions' links."""
    method: Literal["bm25", "encoder", "fused"] = "bm25"
    """How chunks are found: by BM25, by the vectors of `encoder`, or by both rankings, fused."""
    encoder: str | None = Field(default=None, min_length=1)
    """Folder or hub id of a sentence encoder, whose files give its pooling and its prompts of queries and texts."""
    rerank: str | None = Field(default=None, min_length=1)
    """What puts the best 50 chunks in a new order: a sequence classifier with one output, by its folder or hub id, or
    `judge:NAME`, a judge that rates one answer by itself. The judge may ask an endpoint, a function, a URL or a reward
    model, but no engine of the run: contexts are made before engines start. `judge.max_cost` limits what it charges
    too, apart from what the run's judges charge."""
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

    @property
    def roots(self) -> list[str]:
        """The folder and the paths, each once."""
        return list(dict.fromkeys([*([self.folder] if self.folder else []), *self.paths]))

    @model_validator(mode="after")
    def _is_complete(self) -> "DocumentsSection":
        agent = self.user_agent
        if agent is not None and not ("@" in agent and agent.isascii() and agent.isprintable()):
            raise ValueError(f"user_agent: {agent!r}; expected who fetches, with an email address, in plain characters")
        if self.fetch and agent is None:
            raise ValueError("user_agent: missing; expected who fetches, with an email address, as `fetch` needs it")
        if self.contexts == "gold":
            return self
        self._check_documents()
        if self.top_k is None and self.max_tokens is None:
            raise ValueError("top_k: expected a number of chunks, or max_tokens")
        if self.method == "bm25" and self.encoder is not None:
            raise ValueError("encoder: has no effect with `method: bm25`; expected `method: fused` or `encoder`")
        if self.method != "bm25" and self.encoder is None:
            raise ValueError(f"encoder: expected the sentence encoder that `method: {self.method}` searches with")
        return self

    def _check_documents(self) -> None:
        if not self.roots and not self.fetch and self.scope == "all":
            raise ValueError("folder: expected the folder of the documents that `scope: all` searches")
        for path in self.paths:
            if not path.strip():
                raise ValueError("paths: an empty path; expected files and folders")
            if path.lower().startswith(("https://", "http://")) and not self.fetch:
                raise ValueError(f"paths: {path} is a web address; expected `fetch: true` with it")
