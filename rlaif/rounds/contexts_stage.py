"""The contexts that a run's questions get from documents, made once, before engines start.

`prompts/contexts.parquet` has the chunks, and `prompts/documents.json`, which is written last, what they come from.

Invariant: a question is asked with the same context in every round and after every start. A train question without one
is left out; a held-out or test question is not asked and counts as wrong.
"""

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa

from rlaif.data.question import Question
from rlaif.data.sources import questions_sha
from rlaif.documents.document import Chunk
from rlaif.documents.names import is_link
from rlaif.documents.reading import READER
from rlaif.errors import UserError
from rlaif.io.files import read_bytes
from rlaif.models.policy_source import token_counts
from rlaif.progress import Progress
from rlaif.recipe import Recipe
from rlaif.retrieval.contexts import Retrieved, with_gold_evidence
from rlaif.retrieval.make import Contexts, contexts_lines, make_contexts
from rlaif.retrieval.recipe_searcher import changed_models
from rlaif.rounds.setup import Setup
from rlaif.store.records.documents_record import DocumentsRecord, SearcherRecord
from rlaif.store.rundir import RunDir
from rlaif.store.schemas import CONTEXTS
from rlaif.store.shards import read_table, write_table
from rlaif.training.worker import run_once

_NAMED = 3


def changed_documents(run: RunDir) -> list[str]:
    """Return what differs from what a run began with: the documents, how they are read, or what searches them."""
    record = DocumentsRecord.read(run.path("prompts", "documents.json"))
    if record is None:
        return []
    differs = [] if record.reader == READER else [f"how documents are read (version {record.reader} -> {READER})"]
    changed = []
    for name, document in record.documents.items():
        data = None if is_link(document.path) or not document.sha256 else read_bytes(document.path)
        # One that is gone is not needed any more.
        if data is not None and hashlib.sha256(data).hexdigest() != document.sha256:
            changed.append(name)
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        differs.append(f"the documents {', '.join(changed[:_NAMED])}{more}")
    return differs + changed_models(record.searcher)


def with_contexts(setup: Setup, run: RunDir, progress: Progress) -> Setup:
    """Return a setup whose questions have their contexts: those of an earlier start, or made now. Needs Ray.

    Raises:
        UserError: no train question has a context.
    """
    section = setup.recipe.questions.documents
    if section is None:
        return setup
    sets = {"train": setup.train, "heldout": setup.heldout, "test": setup.test}
    if setup.documents is None:
        given = {name: [with_gold_evidence(each) for each in questions] for name, questions in sets.items()}
    else:
        contexts = _contexts(setup, sets, run, progress)
        given = {name: contexts.given_to(name, questions, section.refusal) for name, questions in sets.items()}
        for line in contexts_lines(contexts.record):
            progress.say(line)
    train = [each for each in given["train"] if not each.unasked]
    if not train:
        first = given["train"][0]
        raise UserError(f"questions.documents: no train question has a context, such as {first.id}: {first.unasked}")
    return replace(setup, train=train, heldout=given["heldout"], test=given["test"])


def _contexts(setup: Setup, sets: Mapping[str, Sequence[Question]], run: RunDir, progress: Progress) -> Contexts:
    """Return the stored contexts of the sets that are as they were, and make those of the others."""
    section, sources = setup.recipe.questions.documents, setup.documents
    assert section is not None
    assert sources is not None
    known = _stored(run, sets)
    left = {name: questions for name, questions in sets.items() if known is None or name not in known.record.sets}
    if known is not None and not left:
        return known
    made = make_contexts(
        left, sources, section,
        withheld={"train": section.withheld, "heldout": section.withheld_heldout}, seed=setup.recipe.seed,
        count_tokens=partial(_token_counts, setup.recipe), progress=progress, max_cost=setup.recipe.judge.max_cost,
    )  # fmt: skip
    if known is not None:
        if made.record.searcher != known.record.searcher:
            raise UserError(
                f"{run.root}: its contexts were found by {_ids(known.record.searcher)}, but new ones would be by "
                f"{_ids(made.record.searcher)}; continuing would mix the two"
            )
        both = {
            "documents": {**known.record.documents, **made.record.documents},
            "sets": {**known.record.sets, **made.record.sets},
        }
        made = Contexts({**known.retrieved, **made.retrieved}, made.record.model_copy(update=both))
    rows = chain.from_iterable(_rows(name, found) for name, found in made.retrieved.items())
    write_table(run.path("prompts", "contexts.parquet"), pa.Table.from_pylist(list(rows), schema=CONTEXTS))
    made.record.write(run.path("prompts", "documents.json"))
    return made


def _ids(searcher: SearcherRecord) -> str:
    models = [each for each in (searcher.encoder, searcher.rerank) if each is not None]
    return " with ".join([searcher.method, *(f"{each.name} ({each.id[:12]})" for each in models)])


def _token_counts(recipe: Recipe, texts: Sequence[str]) -> list[int]:
    # In a task, since the driver loads no tokenizer.
    return asyncio.run(
        run_once(partial(token_counts, list(texts), recipe.policy, recipe.training.lora), gpu=False)
    )  # fmt: skip


def _rows(set_: str, retrieved: Mapping[str, Retrieved]) -> list[dict[str, Any]]:
    return [
        {
            "set": set_,
            "question_id": id_,
            "rank": rank,
            "chunk": chunk.id,
            "document": chunk.document,
            "sha256": chunk.sha256,
            "page": chunk.page,
            "place": chunk.place,
            "score": score,
            "text": chunk.text,
        }
        for id_, found in retrieved.items()
        for rank, (chunk, score) in enumerate(found.chunks, start=1)
    ]


def _stored(run: RunDir, sets: Mapping[str, Sequence[Question]]) -> Contexts | None:
    """Return the contexts of an earlier start, of the sets whose questions are the same; None without any."""
    record = DocumentsRecord.read(run.path("prompts", "documents.json"))
    if record is None:
        return None
    same = {name: found for name, found in record.sets.items() if found.sha == questions_sha(sets.get(name, ()))}
    chunks: dict[tuple[str, str], list[tuple[Chunk, float | None]]] = {}
    for row in read_table(run.path("prompts", "contexts.parquet")).to_pylist():
        chunk = Chunk(row["chunk"], row["document"], row["sha256"], row["page"], row["place"], row["text"])
        chunks.setdefault((row["set"], row["question_id"]), []).append((chunk, row["score"]))
    retrieved = {}
    for name, found in same.items():
        withheld, lacking = set(found.withheld), (each.id for each in sets[name] if not each.context)
        retrieved[name] = {
            id_: Retrieved(tuple(chunks.get((name, id_), ())), id_ in withheld, found.unasked.get(id_, ""))
            for id_ in lacking
        }
    return Contexts(retrieved, record.model_copy(update={"sets": same}))
