"""`rlaif documents search` and `report`: what is found, where evidence is, and the figures of searchers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.documents.document import Chunk, Document, Page, Table, TableRow, Text
from rlaif.documents.index import Hit
from rlaif.errors import UserError
from rlaif.retrieval.corpus import Truth
from rlaif.retrieval.evidence_pages import evidence_chunks, evidence_pages
from rlaif.retrieval.evidence_questions import read_evidence_questions, read_passages
from rlaif.retrieval.recall import Found, figures_by_kind, found
from tests.small_encoder import save_encoder

run = CliRunner()
TABLE = Table(
    "Income statement", "(in millions)", ("2022", "2021"),
    (TableRow("Net sales", ("8,631", "7,402")), TableRow("Gross profit", ("3,375", "2,976"))),
)  # fmt: skip
DOCUMENT = Document(
    "ACME_2022_10K", "sha", "1",
    (
        Page(1, (Text("Acme makes anvils and rockets for coyotes in the desert."),)),
        Page(2, (TABLE,)),
        Page(3, (Text("Legal proceedings: none that matter to the results of the group."),)),
    ),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "120")


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def filings(tmp_path: Path) -> str:
    folder = tmp_path / "filings"
    folder.mkdir()
    (folder / "ACME_2022_10K.md").write_text(
        "# Acme\n\nAcme sold 8,631 anvils to coyotes.\n\n# Legal\n\nThere were no lawsuits in the year.\n"
    )
    (folder / "BESTBUY_2022_10K.md").write_text("# Best Buy\n\nThe stores sold 120 televisions to coyotes.\n")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nno more")
    return str(folder)


def test_search_shows_the_best_passages(filings: str) -> None:
    asked = ["documents", "search", filings, "--query", "coyotes of Best Buy", "--json"]
    shown = run.invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    hits = json.loads(shown.stdout)
    assert [hit["document"] for hit in hits] == ["BESTBUY_2022_10K", "ACME_2022_10K"]
    assert hits[0]["rank"] == 1
    assert "120 televisions" in hits[0]["text"]
    assert shown.stderr.count("broken.pdf") == 1
    own = json.loads(run.invoke(app, [*asked, "--document", "ACME_2022_10K"]).stdout)
    assert [hit["document"] for hit in own] == ["ACME_2022_10K"]
    assert "1. BESTBUY_2022_10K, page 1 (" in run.invoke(app, asked[:-1]).stdout
    assert run.invoke(app, ["documents", "search", filings, "--query", "zebras"]).stdout.endswith("nothing was found\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--document", "OTHER"], "OTHER: no such document among the 2"),
        (["--encoder", "./absent"], "./absent: no such directory"),
        (["--rerank", "judge:absent"], "absent"),
    ],
)
def test_search_says_what_is_wrong(filings: str, arguments: list[str], says: str) -> None:
    shown = run.invoke(app, ["documents", "search", filings, "--query", "coyotes", *arguments])
    assert shown.exit_code == 2
    assert says in shown.stderr


def test_report_measures_documents_and_evidence_apart(filings: str, tmp_path: Path) -> None:
    questions = written(
        tmp_path / "questions.jsonl",
        [
            {"id": "q1", "question": "How many anvils did Acme sell?", "evidence": "Acme sold 8,631 anvils to coyotes.",
             "doc_name": "ACME_2022_10K", "kind": "figures"},
            {"id": "q2", "question": "What did Zeta Corp earn?", "evidence": ["Zeta earned 7 million."],
             "doc_name": "ZETA_2022_10K", "kind": "figures"},
            {"id": "q3", "question": "Which televisions?", "page": 1, "document": "bestbuy_2022_10k"},
            {"id": "q4", "question": "Who sued Acme?", "evidence": "A zebra sued the company for damages in March.",
             "doc_name": "ACME_2022_10K"},
        ],
    )  # fmt: skip
    among = written(tmp_path / "among.jsonl", [{"context": f"A company sold {n} zebras."} for n in range(20)])
    asked = ["documents", "report", "--questions", questions, "--documents", filings, "--among", among, "-k", "1"]
    shown = run.invoke(app, [*asked, "--json"])
    assert shown.exit_code == 0, shown.output
    facts = json.loads(shown.stdout)
    assert facts["left_out"] == {"q4": "ACME_2022_10K: its evidence is on no page of it"}
    assert "q4 is left out: ACME_2022_10K" in shown.stderr
    every, figures = facts["searchers"]
    assert (every["kind"], every["questions"], figures["kind"], figures["questions"]) == (None, 3, "figures", 2)
    assert every["figures"]["page hit@1"]["mean"] == 1
    # The page of q3 is known, and its chunks are not.
    assert every["figures"]["hit@1"]["n"] == 2
    assert every["figures"]["hit@1"]["mean"] == every["figures"]["recall@1"]["mean"] == 1
    table = run.invoke(app, asked).stdout
    assert "3 questions, 24 chunks; 1 question left out; 95% intervals" in table
    assert any(line.split() == ["figures", "2", "bm25", "1.00"] for line in table.splitlines())
    again = run.invoke(app, [*asked, "--json", "--scope", "document"])
    assert json.loads(again.stdout)["scope"] == "document"


def test_report_compares_searchers(filings: str, tmp_path: Path) -> None:
    encoder = save_encoder(tmp_path / "encoder", ["anvils", "coyotes"])
    rows = [{"question": "anvils", "evidence": "Acme sold 8,631 anvils to coyotes.", "document": "ACME_2022_10K"}]
    questions = written(tmp_path / "questions.jsonl", rows)
    asked = ["documents", "report", "--questions", questions, "--documents", filings, "--encoder", encoder, "--json"]
    found = json.loads(run.invoke(app, asked).stdout)
    assert [each["searcher"] for each in found["searchers"]] == ["bm25", "encoder", "bm25+encoder"]
    assert set(found["milliseconds"]) == {"bm25", "encoder", "bm25+encoder"}
    for more, says in (
        (["--searcher", "bm25"], "--encoder has no effect"),
        (["--searcher", "bm26"], "--searcher bm26: expected one of bm25, encoder, bm25+encoder, bm25+rerank"),
        (["--searcher", "bm25+encoder+rerank"], "expected --rerank, which says what it is"),
    ):
        shown = run.invoke(app, [*asked, *more])
        assert shown.exit_code == 2
        assert says in shown.stderr


def test_evidence_is_found_on_its_page() -> None:
    assert evidence_pages(DOCUMENT, ["Net sales $ 8,631 $ 7,402 Gross profit 3,375 2,976"]) == {2}
    assert evidence_pages(DOCUMENT, ["Acme makes anvils and rockets", "Legal proceedings: none that matter"]) == {1, 3}
    assert evidence_pages(DOCUMENT, ["anvils"]) == {1}
    assert evidence_pages(DOCUMENT, ["Nothing of this is there at all"]) == frozenset()
    assert evidence_pages(DOCUMENT, [""]) == frozenset()


@given(st.integers(0, 2), st.integers(0, 5))
def test_a_page_of_itself_is_its_page(page: int, start: int) -> None:
    words = [f"w{page}{number}" for number in range(12)]
    pages = tuple(Page(number + 1, (Text(" ".join(f"w{number}{word}" for word in range(12))),)) for number in range(3))
    assert evidence_pages(Document("d", "s", "1", pages), [" ".join(words[start:])]) == {page + 1}


def test_chunks_with_much_of_the_evidence_are_its_chunks() -> None:
    texts = ["Net sales 2022: 8,631 2021: 7,402", "Gross profit 2022: 3,375", "Legal matters"]
    chunks = [Chunk(text[:3], "d", "s", 2, place, text) for place, text in enumerate(texts)]
    assert evidence_chunks(chunks, ["Net sales 8,631 7,402 2022 2021"]) == {"Net"}
    assert evidence_chunks(chunks, ["zebra"]) == frozenset()


def test_figures_are_shares_of_questions_and_of_their_chunks() -> None:
    results = [Found((1, 7), 2, 1), Found((), 1, 3), Found((), 0, 2)]
    every, kind = figures_by_kind(results, ["a", None, "a"], [1, 5, 10])
    values = {name: figure.value for name, figure in every.figures.items()}
    assert [values[f"hit@{k}"] for k in (1, 5, 10)] == [0.5, 0.5, 0.5]
    assert [values[f"recall@{k}"] for k in (1, 5, 10)] == [0.25, 0.25, 0.5]
    assert [values[f"page hit@{k}"] for k in (1, 5, 10)] == pytest.approx([1 / 3, 1, 1])
    assert (kind.kind, kind.questions, kind.figures["hit@1"].n) == ("a", 2, 1)


def test_a_hit_on_another_documents_page_does_not_count() -> None:
    def hit(document: str, page: int, rank: int) -> Hit:
        return Hit(Chunk(f"{document}{page}", document, "s", page, 0, ""), 1.0, rank)

    truth = Truth("a", frozenset({2}), frozenset({"a2"}))
    assert found([hit("b", 2, 1), hit("a", 1, 2), hit("a", 2, 3)], truth) == Found((3,), 1, 3)
    assert found([hit("b", 2, 1)], truth) == Found((), 1, None)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "q"}, "evidence: missing, and so are context and page"),
        ({"question": "q", "page": 0}, "page: expected the number of a page, from 1"),
        ({"question": "", "page": 1}, "question: empty"),
    ],
)
def test_a_question_that_nothing_answers_is_refused(tmp_path: Path, row: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=rf"q\.jsonl:1: {says}"):
        read_evidence_questions(written(tmp_path / "q.jsonl", [row]))


def test_forms_of_evidence_and_passages(tmp_path: Path) -> None:
    rows = [
        {"question": "q", "evidence": [{"evidence_text": "one"}, {"evidence_text": "two"}], "doc_link": "x/y.pdf"},
        {"question": "q", "context": "three", "doc_name": "d", "question_type": "k", "page": [2, 3]},
    ]
    first, second = read_evidence_questions(written(tmp_path / "q.jsonl", rows))
    assert (first.evidence, first.documents, first.pages, first.kind) == (("one", "two"), ("x/y.pdf",), (), None)
    assert (second.evidence, second.documents, second.pages, second.kind) == (("three",), ("d",), (2, 3), "k")
    passages = written(tmp_path / "p.jsonl", [{"text": ["a", "b"]}, {"context": "c", "document": "d"}])
    assert list(read_passages(passages)) == [("", "a"), ("", "b"), ("d", "c")]
    with pytest.raises(UserError, match="no column 'text'"):
        list(read_passages(written(tmp_path / "none.jsonl", [{"other": "c"}])))
