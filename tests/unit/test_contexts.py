"""Contexts that are retrieved from documents: whole chunks, the same every time, or a reason why there is none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from rlaif.data.question import Question
from rlaif.documents.document import Chunk
from rlaif.documents.index import Index
from rlaif.errors import UserError
from rlaif.recipe import DocumentsSection
from rlaif.retrieval.contexts import retrieve, with_gold_evidence
from rlaif.retrieval.sources import documents_of_questions

REFUSAL = "The documents do not say."
ROWS = {
    "ALDER_2023": ["Revenue in 2023 was $41.2 million.", "Costs in 2023 were $30.1 million.", "Alder had 310 stores."],
    "BIRCH_2023": ["Revenue in 2023 was $7.5 million.", "Birch had 12 stores and sold wood in 2023."],
}
CHUNKS = [
    Chunk(f"{name}-{page}", name, "0" * 64, page, 0, f"{name}, page {page}\n{text}")
    for name, texts in ROWS.items()
    for page, text in enumerate(texts, start=1)
]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index.build(tmp_path / "index", CHUNKS, key="test")


def words(texts: Sequence[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def contexts(index: Index, *questions: Question, withheld: float = 0.0, **settings: object) -> list[Question]:
    section = DocumentsSection.model_validate({"folder": "f", **settings})
    found = retrieve(
        questions, index, section,
        documents=[each.document for each in questions], withheld=withheld, seed=1, count_tokens=words,
    )  # fmt: skip
    return [each.given_to(question, REFUSAL) for each, question in zip(found, questions, strict=True)]


REVENUE = Question("q1", "What was revenue in 2023?", "", "$41.2 million", document="ALDER_2023")


def test_a_context_is_the_best_chunks_of_the_questions_document(index: Index) -> None:
    (asked,) = contexts(index, REVENUE, top_k=2)
    assert asked.chunks is not None
    assert asked.chunk_ids == ["ALDER_2023-1", "ALDER_2023-2"]
    assert asked.context == "\n\n".join(chunk.text for chunk in asked.chunks)
    assert (asked.gold_answer, asked.withheld, asked.unasked) == ("$41.2 million", False, "")
    (everywhere,) = contexts(index, Question("q2", "What was Birch's revenue in 2023?"), top_k=1, scope="all")
    assert everywhere.chunk_ids == ["BIRCH_2023-1"]


def test_a_budget_of_tokens_takes_the_chunks_that_fit_best_first(index: Index) -> None:
    sizes = {chunk.id: len(chunk.text.split()) for chunk in CHUNKS}
    budget = sizes["ALDER_2023-1"] + 2 + sizes["ALDER_2023-2"]
    (asked,) = contexts(index, REVENUE, top_k=None, max_tokens=max(16, budget))
    assert asked.chunk_ids == ["ALDER_2023-1", "ALDER_2023-2"]
    (one,) = contexts(index, REVENUE, top_k=1, max_tokens=1000)
    assert one.chunk_ids == ["ALDER_2023-1"]
    long = Chunk("long", "CEDAR", "1" * 64, 1, 0, "CEDAR\n" + "revenue " * 40)
    other = Index.build(index.folder.parent, [long], key="long")
    (none,) = contexts(other, Question("q", "Revenue?", document="CEDAR"), max_tokens=16)
    assert (none.chunks, none.context) == ((), "")
    assert none.unasked == "no passage fits into questions.documents.max_tokens (16)"


def test_the_evidence_is_withheld_and_a_refusal_is_right(index: Index) -> None:
    asked = Question("q1", "What was revenue in 2023?", "", "$41.2 million", document="ALDER_2023")
    by_evidence = Question(
        "q2", "How did revenue develop in 2023?", "", "It rose.",
        document="ALDER_2023", evidence="Revenue in 2023 was $41.2 million.",
    )  # fmt: skip
    for question in contexts(index, asked, by_evidence, withheld=0.999, top_k=2):
        assert question.withheld
        assert (question.gold_answer, question.evidence) == (REFUSAL, None)
        assert question.chunk_ids is not None
        assert "ALDER_2023-1" not in question.chunk_ids
        assert question.chunk_ids


def test_what_cannot_be_withheld_is_asked_with_its_evidence(index: Index) -> None:
    unknown = Question("q1", "Was it profitable in 2023?", "", "Yes", document="ALDER_2023")
    alone = Question("q2", "What was revenue?", "", "$7.5 million", document="CEDAR")
    index = Index.build(
        index.folder.parent, [Chunk("c", "CEDAR", "", 1, 0, "Revenue was $7.5 million."), *CHUNKS], key="c"
    )
    for question in contexts(index, unknown, alone, withheld=0.999):
        assert (question.withheld, question.gold_answer) != (True, REFUSAL)
        assert question.chunks


def test_the_withheld_share_is_drawn_by_seed_and_id(index: Index) -> None:
    asked = [replace(REVENUE, id=f"q{number}") for number in range(400)]
    first, second = (contexts(index, *asked, withheld=0.25) for _ in range(2))
    assert first == second
    assert 70 < sum(question.withheld for question in first) < 130


def test_gold_evidence_is_the_context_where_it_is_known() -> None:
    known = Question("q", "?", evidence="Revenue was 5.")
    assert with_gold_evidence(known).context == "Revenue was 5."
    assert with_gold_evidence(Question("q", "?", "own", evidence="x")).context == "own"
    assert with_gold_evidence(Question("q", "?")).unasked.startswith("no evidence is known")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scope": "all"}, "folder: expected the folder"),
        ({"folder": "f", "top_k": None}, "top_k: expected a number of chunks, or max_tokens"),
        ({"folder": "f", "top": 3}, "Extra inputs"),
        ({"folder": "f", "fetch": True}, "user_agent: missing; expected who fetches, with an email address"),
        ({"folder": "f", "user_agent": "Mozilla"}, "user_agent: 'Mozilla'; expected who fetches"),
        ({"folder": "f", "fetch": True, "user_agent": "ann@example.org\r\nX: y"}, "in plain characters"),
        ({"paths": ["https://x.com/a.pdf"]}, "a.pdf is a web address; expected `fetch: true`"),
        ({"folder": "f", "paths": [" "]}, "paths: an empty path"),
        ({"folder": "f", "method": "fused"}, "encoder: expected the sentence encoder that `method: fused`"),
        ({"folder": "f", "encoder": "org/model"}, "encoder: has no effect with `method: bm25`"),
        ({"folder": "f", "method": "dense"}, "'bm25', 'encoder' or 'fused'"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        DocumentsSection.model_validate(settings)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("filings/ALDER_2023.pdf", "filings/2022/BIRCH.txt", "filings/2023/BIRCH.txt", "filings/.x/C.pdf"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path / "filings"


def test_documents_are_found_by_name_path_and_link(folder: Path) -> None:
    section = DocumentsSection(folder=str(folder))
    (folder.parent / "other.md").write_text("x")
    questions = [
        Question("name", "?", document="alder_2023"),
        Question("path", "?", document="2022/BIRCH"),
        Question("link", "?", doc_link="https://x.com/ALDER_2023.pdf"),
        Question("outside", "?", document=str(folder.parent / "other.md")),
        Question("own", "?", "a context"),
        Question("two", "?", document="BIRCH"),
        Question("none", "?"),
        Question("far", "?", doc_link="https://x.com/D.pdf"),
    ]
    found = documents_of_questions(section, {"train": questions})
    assert {id_: name for (_, id_), name in found.of.items()} == {
        "name": "ALDER_2023", "path": "2022/BIRCH.txt", "link": "ALDER_2023", "outside": "other",
    }  # fmt: skip
    assert found.paths["2022/BIRCH.txt"] == str(folder / "2022/BIRCH.txt")
    assert {id_: reason for (_, id_), reason in found.missing.items()} == {
        "two": f"its document BIRCH is not in {folder}",
        "none": "names no document",
        "far": f"its document https://x.com/D.pdf is not in {folder}, and questions.documents.fetch is off",
    }


def test_documents_of_several_folders_files_and_links(folder: Path) -> None:
    for name in ("more/2022/BIRCH.txt", "more/CEDAR.md", "one/ELM.md"):
        path = folder.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    more, elm = f"{folder.parent}/more/", str(folder.parent / "one/ELM.md")
    section = DocumentsSection(
        folder=str(folder), paths=[more, elm, f"{folder}/2023", "https://x.com/FIR.pdf"],
        fetch=True, user_agent="Acme research ann@example.org",
    )  # fmt: skip
    names = ["ALDER_2023", "cedar", "ELM", "2023/BIRCH", "more/2022/birch", "FIR", "BIRCH"]
    questions = [Question(name, "?", document=name) for name in names]
    link = "https://x.com/OAK_2023.pdf"
    far = [Question("oak", "?", document="OAK", doc_link=link), Question("link", "?", doc_link=link)]
    found = documents_of_questions(section, {"train": [*questions, *far]})
    assert {id_: found.paths[str(name)] for (_, id_), name in found.of.items()} == {
        "ALDER_2023": f"{folder}/ALDER_2023.pdf", "cedar": f"{more}CEDAR.md", "ELM": elm,
        "2023/BIRCH": f"{folder}/2023/BIRCH.txt", "more/2022/birch": f"{more}2022/BIRCH.txt",
        "FIR": "https://x.com/FIR.pdf", "oak": link, "link": link,
    }  # fmt: skip
    (reason,) = found.missing.values()
    assert reason.startswith("its document BIRCH is not in ")
    assert reason.endswith(", and it has no link")
    everywhere = section.model_copy(update={"scope": "all"})
    assert documents_of_questions(everywhere, {"train": far}).paths.keys() >= {"OAK", "ALDER_2023", "FIR"}
    with pytest.raises(UserError, match=r"nowhere: no such file or folder; expected files and folders"):
        documents_of_questions(DocumentsSection(paths=["nowhere"]), {"train": []})


def test_all_documents_of_a_folder_are_searched_with_scope_all(folder: Path) -> None:
    section = DocumentsSection(folder=str(folder), scope="all")
    found = documents_of_questions(section, {"train": [Question("q", "?")], "heldout": [Question("q", "?")]})
    assert sorted(found.paths) == ["2022/BIRCH.txt", "2023/BIRCH.txt", "ALDER_2023"]
    assert found.of == {("train", "q"): None, ("heldout", "q"): None}


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing: no such folder; expected the folder of the documents"):
        documents_of_questions(DocumentsSection(folder=str(tmp_path / "nothing")), {"train": []})
    (tmp_path / "empty").mkdir()
    section = DocumentsSection(folder=str(tmp_path / "empty"), scope="all")
    with pytest.raises(UserError, match=r"empty: no document; expected files that end in .pdf"):
        documents_of_questions(section, {"train": [Question("q", "?")]})
