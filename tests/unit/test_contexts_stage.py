"""A run's contexts are made once and kept: another start has the same ones, and changed documents are refused."""

import json
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlaif.documents.limits import Limits
from rlaif.errors import UserError
from rlaif.recipe import DocumentsSection
from rlaif.retrieval import collection
from rlaif.retrieval.collection import open_collection
from rlaif.rounds.contexts_stage import changed_documents
from rlaif.store.rundir import RunDir
from tests.unit.filings_run import BROKEN, LOST, REVENUE, STORES, Said, make_filings, setup_of, start, write


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    make_filings()
    return tmp_path


def test_contexts_are_made_and_said_and_kept(here: Path) -> None:
    setup, lines = start()
    revenue, own = setup.train
    assert revenue.chunks is not None
    assert revenue.context == "\n\n".join(chunk.text for chunk in revenue.chunks)
    assert "$41.2 million" in revenue.context
    assert (own.context, own.chunks) == ("Sales were 5.", None)
    assert [(each.id, bool(each.unasked)) for each in setup.heldout] == [("h1", False), ("h2", True)]
    assert [each.chunks[0].document for each in setup.test if each.chunks] == ["BIRCH"]
    text = "\n".join(lines)
    assert "documents: 2 read, 1 not" in text
    assert "2 left out, such as lost: its document CEDAR is not in filings" in text
    assert "held-out contexts: 1 retrieved; 1 not asked, which counts as wrong, such as h2: its document CEDAR" in text
    rows = pq.read_table("runs/mine/prompts/contexts.parquet").to_pylist()
    assert {(row["set"], row["question_id"]) for row in rows} == {("train", "r"), ("heldout", "h1"), ("test", "s")}
    for row in rows:
        assert row["text"].startswith(row["document"])
        assert row["rank"] >= 1
    record = json.loads(Path("runs/mine/prompts/documents.json").read_text())
    assert record["documents"]["BROKEN"]["reason"]
    assert "\n" not in record["documents"]["BROKEN"]["reason"]


def test_another_start_has_the_same_contexts_without_reading(here: Path) -> None:
    first, _ = start()
    stored = Path("runs/mine/prompts/contexts.parquet").read_bytes()
    # What is gone is not needed any more.
    (here / "filings" / "ALDER.md").unlink()
    (here / "filings" / "OTHER.md").write_text("Alder's revenue was nothing.")
    again, lines = start("questions.documents.max_mib=32")
    assert (again.train, again.heldout, again.test) == (first.train, first.heldout, first.test)
    assert Path("runs/mine/prompts/contexts.parquet").read_bytes() == stored
    assert any("left out" in line for line in lines)


def test_changed_documents_and_other_keys_are_refused(here: Path) -> None:
    start()
    (here / "filings" / "ALDER.md").write_text("Revenue was $42 million.")
    with pytest.raises(UserError, match=r"What differs: the documents ALDER\. Use another name"):
        start()
    (here / "filings" / "BIRCH.txt").write_text("x")
    assert changed_documents(RunDir("runs/mine")) == ["the documents ALDER, BIRCH"]
    with pytest.raises(UserError, match=r"questions\.documents\.top_k \(2 -> 1\)"):
        start("questions.documents.top_k=1")


def test_other_test_questions_get_contexts_and_the_others_keep_theirs(here: Path) -> None:
    first, _ = start()
    write("test", {**REVENUE, "id": "new"})
    again, _ = start()
    assert again.train == first.train
    assert [each.chunk_ids for each in again.test] == [first.train[0].chunk_ids]
    rows = pq.read_table("runs/mine/prompts/contexts.parquet").to_pylist()
    assert {row["question_id"] for row in rows if row["set"] == "test"} == {"new"}


def test_withheld_questions_are_kept_as_such(here: Path) -> None:
    settings = ("questions.documents.withheld=0.999", "questions.documents.scope=all")
    first, lines = start(*settings)
    assert [(each.id, each.withheld) for each in first.train] == [("r", True), ("own", False)]
    assert first.train[0].gold_answer == "The documents do not say."
    assert any("1 of them without the evidence" in line for line in lines)
    again, _ = start(*settings)
    assert again.train == first.train


def test_gold_evidence_reads_no_document(here: Path) -> None:
    write("train", {**REVENUE, "evidence": "Revenue was $41.2 million."}, {**STORES})
    setup, _ = start("questions.documents.contexts=gold", "questions.documents.folder=null")
    (revenue,) = setup.train
    assert (revenue.context, revenue.chunks) == ("Revenue was $41.2 million.", None)
    assert not Path("runs/mine/prompts/contexts.parquet").exists()


def test_a_run_without_any_document_does_not_start(here: Path) -> None:
    write("train", LOST)
    with pytest.raises(UserError, match=r"questions\.documents: no train question has a document, such as lost: its"):
        setup_of()
    write("train", BROKEN)
    with pytest.raises(UserError, match=r"questions\.documents: no train question has a context, such as broken: its"):
        start()


def test_a_document_that_could_once_not_be_read_is_searched_later(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"ALDER": "filings/ALDER.md", "BIRCH": "filings/BIRCH.txt"}
    with monkeypatch.context() as busy:
        busy.setattr(collection, "Limits", partial(Limits, characters=5))
        first = open_collection(paths, DocumentsSection(folder="filings"), Said())
    assert first.index is None
    assert all("characters" in each.reason for each in first.documents.values())
    then = open_collection(paths, DocumentsSection(folder="filings"), Said())
    assert then.index is not None
    assert set(then.index.documents) == {"ALDER", "BIRCH"}
    assert not any(each.reason for each in then.documents.values())
    again = open_collection(paths, DocumentsSection(folder="filings"), Said())
    assert again.index is not None
    assert again.index.folder == then.index.folder
