"""The chunks that an answer was given from are shown with the pair or the demonstration that they led to."""

from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.recipe import DocumentsSection
from rlaif.store.answer_trace import trace_answer
from rlaif.store.records.documents_record import DocumentsRecord, ReadDocument, RetrievedSet
from rlaif.store.schemas import CONTEXTS, DEMONSTRATIONS, PAIRS
from rlaif.store.shards import read_table, write_table
from rlaif.store.trace import trace_pair
from tests.unit.small_run import SmallRun

CHUNKS = ["c1", "c2"]


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    """A run whose first pair, and a demonstration on its question, have retrieved contexts."""
    small = SmallRun(tmp_path / "runs" / "small")
    path = small.run.round(0).path("pairs.parquet")
    rows = read_table(path).to_pylist()
    rows[0]["chunks"] = CHUNKS
    write_table(path, pa.Table.from_pylist(rows, schema=PAIRS))
    asked = rows[0]["prompt_id"]
    contexts = [
        {"set": set_, "question_id": asked, "rank": rank, "chunk": chunk, "document": f"A_{set_}", "sha256": "0" * 64,
         "page": 10 + rank, "place": 0, "score": 1.5, "text": f"A\n{chunk}"}
        for set_ in ("train", "test") for rank, chunk in enumerate(CHUNKS, start=1)
    ]  # fmt: skip
    write_table(small.run.path("prompts", "contexts.parquet"), pa.Table.from_pylist(contexts, schema=CONTEXTS))
    DocumentsRecord(
        reader="1",
        documents={"A_train": ReadDocument(path="a.pdf", sha256="0" * 64)},
        sets={"train": RetrievedSet(sha="s", retrieved=1, withheld=(asked,))},
    ).write(small.run.path("prompts", "documents.json"))
    shown = {"id": asked, "prompt": [{"role": "user", "content": "?"}], "answer": [], "chunks": CHUNKS, "round": 0}
    table = pa.Table.from_pylist([shown], schema=DEMONSTRATIONS)
    write_table(small.run.round(0).path("demonstrations.parquet"), table)
    return small


def test_a_pair_names_its_chunks_with_document_and_page(small: SmallRun) -> None:
    path = small.run.round(0).path("pairs.parquet")
    first, second = read_table(path).to_pylist()[:2]
    found = trace_pair(small.run, first["pair_id"])
    assert [(chunk.id, chunk.document, chunk.page, chunk.rank) for chunk in found.prompt.chunks] == [
        ("c1", "A_train", 11, 1), ("c2", "A_train", 12, 2),
    ]  # fmt: skip
    assert found.prompt.withheld
    assert found.missing == ()
    other = trace_pair(small.run, second["pair_id"])
    assert (other.prompt.chunks, other.prompt.withheld) == ((), False)
    shown = CliRunner().invoke(app, ["trace", small.run.root, first["pair_id"]], env={"COLUMNS": "120"})
    assert "c1  A_train, page 11" in shown.stdout
    assert "withheld: a refusal is right" in shown.stdout


def test_a_demonstration_names_its_chunks(small: SmallRun) -> None:
    asked = read_table(small.run.round(0).path("pairs.parquet")).to_pylist()[0]["prompt_id"]
    found = trace_answer(small.run, asked)
    assert found is not None
    assert [chunk.shown for chunk in found.chunks] == ["c1  A_train, page 11", "c2  A_train, page 12"]
    assert found.withheld


def test_contexts_that_are_gone_are_named(small: SmallRun) -> None:
    Path(small.run.path("prompts", "contexts.parquet")).unlink()
    pair = read_table(small.run.round(0).path("pairs.parquet")).to_pylist()[0]["pair_id"]
    found = trace_pair(small.run, pair)
    assert [chunk.shown for chunk in found.prompt.chunks] == CHUNKS
    assert found.missing == ("prompts/contexts.parquet: where the chunks are",)


def test_a_plan_counts_contexts_by_their_limits() -> None:
    from rlaif.data.question import Question
    from rlaif.planning.tokens import context_tokens

    questions = [Question("1", "?"), Question("2", "?"), Question("3", "?", "a context"), Question("4", "?", "another")]
    tokens, note = context_tokens(questions, DocumentsSection(folder="f", max_tokens=1000, top_k=None))
    assert tokens == 500
    assert note.startswith("contexts of 2 questions are assumed at 1,000 tokens (questions.documents.max_tokens)")
    by_chunks, note = context_tokens(questions, DocumentsSection(folder="f", top_k=2, chunk_words=100))
    assert 0 < by_chunks < 500
    assert "2 chunks of 100 words" in note
    assert "no document is read" in note
    assert context_tokens(questions, None) == (0, "")
    gold = [Question("1", "?", evidence="x" * 300)]
    assert context_tokens(gold, DocumentsSection(contexts="gold")) == (100, "")
