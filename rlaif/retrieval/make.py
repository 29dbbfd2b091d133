"""Makes the contexts of sets of questions: reads their documents, searches them, and says what came of it.

Invariant: the same questions, documents and settings give the same contexts on every machine.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlaif.data.question import Question
from rlaif.data.sources import questions_sha
from rlaif.documents.reading import READER
from rlaif.progress import Progress
from rlaif.recipe.documents import DocumentsSection
from rlaif.retrieval.collection import Collection, open_collection
from rlaif.retrieval.contexts import Retrieved, retrieve
from rlaif.retrieval.sources import DocumentSources
from rlaif.store.records.documents_record import DocumentsRecord, RetrievedSet

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
) -> Contexts:
    """Read the documents and search the contexts of questions.

    Args:
        withheld: share of the questions of a set whose evidence is left out; none of other sets.
        count_tokens: see `retrieve`.
    """
    collection = open_collection(sources.paths, section, progress)
    lacking = {set_: [each for each in questions if not each.context] for set_, questions in sets.items()}
    progress.stage("search contexts", sum(map(len, lacking.values())))
    retrieved = {}
    for set_, questions in lacking.items():
        unasked = _unasked(set_, questions, sources, collection)
        asked = [each for each in questions if each.id not in unasked]
        found: list[Retrieved] = []
        if asked and collection.searcher is not None:
            found = retrieve(
                asked, collection.searcher, section, documents=[sources.of[set_, each.id] for each in asked],
                withheld=withheld.get(set_, 0.0), seed=seed, count_tokens=count_tokens,
            )  # fmt: skip
        by_id = dict(zip((each.id for each in asked), found, strict=True))
        retrieved[set_] = {each.id: by_id.get(each.id) or Retrieved(unasked=unasked[each.id]) for each in questions}
        progress.advance(len(questions))
    record = DocumentsRecord(
        reader=READER,
        documents=collection.documents,
        sets={set_: _set_record(questions, retrieved[set_]) for set_, questions in sets.items()},
    )
    return Contexts(retrieved, record)


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
        if not reason and collection.searcher is None:
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


_NAMED = 10
_TITLES = {"heldout": "held-out"}
