"""Makes the contexts of sets of questions: reads their documents, searches them, and says what came of it.

Invariant: the same questions, documents and settings give the same contexts on every machine, but for what an encoder
or a reranker rounds or a judge decides otherwise.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.data.sources import questions_sha
from rlaif.documents.index import Index
from rlaif.documents.reading import READER
from rlaif.progress import Progress
from rlaif.recipe.documents import DocumentsSection
from rlaif.retrieval.collection import Collection, open_collection
from rlaif.retrieval.contexts import Retrieved, retrieve
from rlaif.retrieval.recipe_searcher import open_recipe_searcher, searcher_record
from rlaif.retrieval.search import Searcher
from rlaif.retrieval.sources import DocumentSources
from rlaif.store.records.documents_record import DocumentsRecord, RetrievedSet, SearcherRecord

CountTokens = Callable[[Sequence[str]], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Contexts:
    """The contexts of sets of questions.

    Attributes:
        retrieved: by set and question id; nothing of questions that bring a context.
        record: what they were retrieved from.
    """

    retrieved: Mapping[str, Mapping[str, Retrieved]]
    record: DocumentsRecord

    def given_to(self, set_: str, questions: Sequence[Question], refusal: str) -> list[Question]:
        """Return the questions of a set with their contexts, in order."""
        found = self.retrieved[set_]
        return [found[each.id].given_to(each, refusal) if each.id in found else each for each in questions]


def make_contexts(
    sets: Mapping[str, Sequence[Question]],
    sources: DocumentSources,
    section: DocumentsSection,
    *,
    withheld: Mapping[str, float],
    seed: int,
    count_tokens: CountTokens,
    progress: Progress,
    max_cost: float | None = None,
) -> Contexts:
    """Read the documents and search the contexts of questions, outside any event loop.

    Args:
        withheld: share of the questions of a set whose evidence is left out; none of other sets.
        count_tokens: see `retrieve`.
        max_cost: limit of what the endpoints of a reranking judge charge; None sets none.
    """
    collection = open_collection(sources.paths, section, progress)
    lacking = {set_: [each for each in questions if not each.context] for set_, questions in sets.items()}
    retrieved = {}
    with _opened(collection.index, section, progress, max_cost) as searcher:
        progress.stage("search contexts", sum(map(len, lacking.values())))
        for set_, questions in lacking.items():
            unasked = _unasked(set_, questions, sources, collection)
            asked = [each for each in questions if each.id not in unasked]
            found: list[Retrieved] = []
            if asked and searcher is not None:
                found = retrieve(
                    asked, searcher, section, documents=[sources.of[set_, each.id] for each in asked],
                    withheld=withheld.get(set_, 0.0), seed=seed, count_tokens=count_tokens,
                )  # fmt: skip
            by_id = dict(zip((each.id for each in asked), found, strict=True))
            retrieved[set_] = {each.id: by_id.get(each.id) or Retrieved(unasked=unasked[each.id]) for each in questions}
            progress.advance(len(questions))
    record = DocumentsRecord(
        reader=READER,
        searcher=searcher_record(section),
        documents=collection.documents,
        sets={set_: _set_record(questions, retrieved[set_]) for set_, questions in sets.items()},
    )
    return Contexts(retrieved, record)


@contextmanager
def _opened(
    index: Index | None, section: DocumentsSection, progress: Progress, max_cost: float | None
) -> Iterator[Searcher | None]:
    if index is None:
        yield None
        return
    with open_recipe_searcher(index, section, progress, max_cost) as searcher:
        yield searcher


def _unasked(
    set_: str, questions: Sequence[Question], sources: DocumentSources, collection: Collection
) -> dict[str, str]:
    """Return why questions have no document to search, by id."""
    found = {}
    for question in questions:
        name = sources.of.get((set_, question.id))
        reason = sources.missing.get((set_, question.id), "")
        if not reason and name is not None and (unread := collection.documents[name].reason):
            reason = f"its document {name} could not be read: {unread}"
        if not reason and collection.index is None:
            reason = "no document could be read"
        if reason:
            found[question.id] = reason
    return found


def _set_record(questions: Sequence[Question], retrieved: Mapping[str, Retrieved]) -> RetrievedSet:
    return RetrievedSet(
        sha=questions_sha(questions),
        retrieved=sum(bool(each.chunks) for each in retrieved.values()),
        withheld=tuple(id_ for id_, each in retrieved.items() if each.withheld),
        unasked={id_: each.unasked for id_, each in retrieved.items() if each.unasked},
    )


def contexts_lines(record: DocumentsRecord) -> list[str]:
    """Return what people are told of the contexts: what was read, what could not be, and who is not asked."""
    unread, total = record.unread, len(record.documents)
    lines = []
    if total:
        lines.append(f"documents: {total - len(unread):,} read" + (f", {len(unread):,} not" if unread else ""))
        if searched := _searched_by(record.searcher):
            lines.append(f"  {searched}")
    lines += [f"  {name}: {reason}" for name, reason in list(unread.items())[:_NAMED]]
    for set_, found in record.sets.items():
        parts = [f"{found.retrieved:,} retrieved"] if found.retrieved else []
        parts += [f"{len(found.withheld):,} of them without the evidence"] if found.withheld else []
        if found.unasked:
            what = "left out" if set_ == "train" else "not asked, which counts as wrong"
            id_, reason = next(iter(found.unasked.items()))
            parts.append(f"{len(found.unasked):,} {what}, such as {id_}: {reason}")
        if parts:
            lines.append(f"{_TITLES.get(set_, set_)} contexts: {'; '.join(parts)}")
    return lines


def _searched_by(searcher: SearcherRecord) -> str:
    """Return what searched; "" of plain BM25."""
    parts = []
    if searcher.encoder is not None:
        parts.append(f"searched by {'BM25 and ' * (searcher.method == 'fused')}{searcher.encoder.name}")
    if searcher.rerank is not None:
        parts.append(f"reranked by {searcher.rerank.name}")
    return ", ".join(parts)


_NAMED = 10
_TITLES = {"heldout": "held-out"}
