"""Rows in the shapes in which public data sets and spreadsheets hold them, read as a user would."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import rlaif
from rlaif.cli.main import app
from rlaif.data.candidates import read_candidates
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError, shown
from rlaif.io.column_names import ColumnNames
from rlaif.recipe import Columns, FileQuestions

PARAGRAPHS = [["A", ["One.", " Two."]], ["B", ["Three."]]]
CONTEXT = "A\nOne. Two.\n\nB\nThree."


def written(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    "row",
    [
        {"_id": "h1", "question": "Which?", "answer": "yes", "context": PARAGRAPHS, "supporting_facts": [["A", 0]]},
        {"_id": "h1", "question": "Which?", "answer": "yes", "level": "hard",
         "context": {"title": ["A", "B"], "sentences": [["One.", " Two."], ["Three."]]}},
    ],
)  # fmt: skip
def test_hotpotqa(tmp_path: Path, row: dict[str, Any]) -> None:
    (tmp_path / "h.json").write_text(json.dumps([row]))
    with pytest.raises(UserError, match=r"h.json:1: column '_id' looks like id; expected columns=\{'id': '_id'\}"):
        rlaif.read_questions(str(tmp_path / "h.json"))
    assert rlaif.read_questions(str(tmp_path / "h.json"), {"id": "_id"}) == [Question("h1", "Which?", CONTEXT, "yes")]
    if isinstance(row["context"], dict):
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "h.parquet")
        assert rlaif.read_questions(str(tmp_path / "h.parquet"), {"id": "_id"})[0].context == CONTEXT


def test_squad(tmp_path: Path) -> None:
    row = {"id": "s1", "title": "T", "context": "In 1886.", "question": "When?",
           "answers": {"text": ["1886", "1886", "in 1886"], "answer_start": [3, 3, 0]}}  # fmt: skip
    none = row | {"id": "s2", "answers": {"text": [], "answer_start": []}}
    pq.write_table(pa.Table.from_pylist([row, none]), tmp_path / "s.parquet")
    for path in (str(tmp_path / "s.parquet"), written(tmp_path / "s.jsonl", row, none)):
        with pytest.raises(UserError, match="column 'answers' looks like gold_answer; "):
            rlaif.read_questions(path)
        first, second = rlaif.read_questions(path, {"gold_answer": "answers"})
        assert (first.gold_answer, second.gold_answer) == (("1886", "in 1886"), None)


def test_financebench_and_musique(tmp_path: Path) -> None:
    evidence = [{"evidence_text": "PPNE 8.7", "evidence_page_num": 4, "evidence_text_full_page": "x"}]
    row = {"financebench_id": "f1", "question": "PPNE?", "answer": 8.7, "evidence": evidence, "doc_link": "https://x"}
    path = written(tmp_path / "f.jsonl", row)
    assert rlaif.read_questions(path, {"id": "financebench_id", "context": "evidence"}) == [
        Question("f1", "PPNE?", "PPNE 8.7", "8.7", "https://x")
    ]
    paragraphs = [{"idx": 0, "title": "T", "paragraph_text": "One."}, {"idx": 1, "paragraph_text": "Two."}]
    path = written(tmp_path / "m.jsonl", {"id": "2hop", "question": "Who?", "answer": "x", "paragraphs": paragraphs})
    (question,) = rlaif.read_questions(path, {"context": "paragraphs"})
    assert question.context == "One.\n\nTwo."


def test_tatqas_documents_are_no_rows(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps([{"table": {}, "paragraphs": [], "questions": [{"question": "Why?"}]}]))
    with pytest.raises(UserError, match=r"t.json:1: row 1: questions: expected a text or a number"):
        rlaif.read_questions(str(tmp_path / "t.json"), {"question": "questions"})


def test_ultrafeedbacks_completions_are_candidates(tmp_path: Path) -> None:
    path = written(tmp_path / "u.jsonl", {"source": "flan", "instruction": "Add 2 and 2.", "models": ["a", "b"],
        "completions": [{"model": "a", "response": "4"}, {"model": "b", "response": "5"}]})  # fmt: skip
    (found,) = read_candidates(path, ColumnNames({"question": "instruction", "answers": "completions"}))
    assert (found.as_question.question, found.answers) == ("Add 2 and 2.", ("4", "5"))


def test_llmbars_own_names(tmp_path: Path) -> None:
    path = written(tmp_path / "l.jsonl", {"input": "Add.", "output_1": 4, "output_2": "5", "label": 1})
    words = ["judge", "labels", path, "-o", str(tmp_path / "out.jsonl")]
    refused = CliRunner().invoke(app, words)
    assert refused.exit_code == 2
    assert "neither format: llmbar has instruction, output_1, output_2, label" in refused.stderr
    assert CliRunner().invoke(app, [*words, "--columns", "instruction=input"]).exit_code == 0
    (label,) = rlaif.read_labels(str(tmp_path / "out.jsonl"))
    assert (label.question, label.answers, label.human) == ("Add.", ("4", "5"), "a")


def test_german_excel(tmp_path: Path) -> None:
    text = "Nr;Frage;Antwort;\r\n1;Wie groß?;1.234,5;\r\n2;Wie viel?;nan;\r\n;;;\r\n"
    columns = {"id": "Nr", "question": "Frage", "gold_answer": "Antwort"}
    expected = [Question("1", "Wie groß?", "", "1.234,5"), Question("2", "Wie viel?", "", "nan")]
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8-sig"))
    (tmp_path / "b.txt").write_bytes(text.replace(";", "\t").encode("utf-16"))
    for name in ("a.csv", "b.txt"):
        assert rlaif.read_questions(str(tmp_path / name), dict(columns)) == expected
    (tmp_path / "c.csv").write_bytes(text.encode("cp1252"))
    with pytest.raises(UserError, match=r"c.csv:2: not UTF-8; expected text in UTF-8, .* CSV UTF-8"):
        rlaif.read_questions(str(tmp_path / "c.csv"), dict(columns))


def test_tables_of_pandas(tmp_path: Path) -> None:
    """A null makes a column of integers one of floats; an index is a column without a name; null is an empty cell."""
    table = pa.table({"id": [12.0, 13.0], "question": ["A?", "B?"], "gold_answer": [1.5, float("nan")]})
    pq.write_table(table, tmp_path / "p.parquet")
    (tmp_path / "p.csv").write_text(",id,question,gold_answer\n0,12,A?,1.5\n1,13,B?,\n")
    (tmp_path / "p.jsonl").write_text('{"id": 12.0, "question": "A?", "gold_answer": 1.5}\n'
                                      '{"id": 13.0, "question": "B?", "gold_answer": NaN}\n')  # fmt: skip
    for name in ("p.parquet", "p.csv", "p.jsonl"):
        assert rlaif.read_questions(str(tmp_path / name)) == [
            Question("12", "A?", "", "1.5"), Question("13", "B?"),
        ]  # fmt: skip


@pytest.mark.parametrize("cell", ["['a', 'b']", "{'text': array(['a'], dtype=object)}", "[None, 'a']"])
def test_a_list_as_python_prints_it_is_not_taken_for_a_text(tmp_path: Path, cell: str) -> None:
    (tmp_path / "p.csv").write_text(f'question,gold_answer\nA?,"{cell}"\n')
    says = "p.csv:2: gold_answer: a list or an object as Python prints it; expected JSON, such as"
    with pytest.raises(UserError) as raised:
        rlaif.read_questions(str(tmp_path / "p.csv"))
    assert says in str(raised.value)
    assert shown(cell) in str(raised.value)


def test_a_list_with_an_empty_text_is_refused_in_csv_too(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('question,gold_answer\nA?,"[""7"", """"]"\n')
    with pytest.raises(UserError, match=r"p.csv:2: gold_answer: a list with an empty text"):
        rlaif.read_questions(str(tmp_path / "p.csv"))


def test_a_cell_that_is_nested_too_deeply_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"c.jsonl:1: answers: expected a list of texts"):
        read_candidates(written(tmp_path / "c.jsonl", {"question": "A?", "answers": "[" * 100_000}))
    with pytest.raises(UserError, match=r"q.jsonl:1: criteria: not JSON: maximum recursion depth"):
        rlaif.read_questions(written(tmp_path / "q.jsonl", {"question": "A?", "criteria": '{"a":' * 100_000}))


@pytest.mark.parametrize("cell", ["[0, 1]", "[Table 1]", "{x}", "[[1, 2], [3, 4]]", "[a, b)", '{"a": 1}'])
def test_other_cells_with_brackets_are_texts(tmp_path: Path, cell: str) -> None:
    quoted = '"' + cell.replace('"', '""') + '"'
    (tmp_path / "p.csv").write_text(f"question\tcontext\tgold_answer\nA?\t{quoted}\t{quoted}\n")
    (question,) = rlaif.read_questions(str(tmp_path / "p.csv"))
    assert (question.context, question.gold_answer) == (cell, cell)


def test_documents_and_evidence_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    evidence = [{"evidence_text": "PPNE 8.7", "evidence_page_num": 4, "evidence_text_full_page": "x"}]
    row = {"id": "f1", "question": "PPNE?", "answer": 8.7, "evidence": evidence, "doc_name": "3M_2018_10K"}
    path = written(tmp_path / "f.jsonl", row)
    columns = Columns(gold_answer="answer", document="doc_name")
    (found,) = load_questions(FileQuestions(path=path, columns=columns), documents=True)
    assert (found.document, found.evidence, found.context) == ("3M_2018_10K", "PPNE 8.7", "")
    # Elsewhere the column may mean anything, and is not read.
    row["evidence"] = {"any": ["thing"]}
    path = written(tmp_path / "g.jsonl", row)
    (found,) = load_questions(FileQuestions(path=path, columns=Columns(gold_answer="answer")))
    assert (found.document, found.evidence) == (None, None)
    with pytest.raises(UserError, match=r"g.jsonl:1: evidence: expected text"):
        load_questions(FileQuestions(path=path, columns=Columns(gold_answer="answer")), documents=True)
