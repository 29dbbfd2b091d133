"""Question files: all formats give the same questions, and errors name the file and the line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.data.sources import load_questions, questions_sha
from rlaif.documents.passage import supporting_passage
from rlaif.errors import UserError
from rlaif.recipe.questions import Columns, DatasetQuestions, DemoQuestions, FileQuestions

Write = Callable[[str, str | bytes], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


def load(path: str, **settings: Any) -> list[Question]:
    return load_questions(FileQuestions(path=path, **settings))


def refusal(path: str, **settings: Any) -> str:
    with pytest.raises(UserError) as raised:
        load(path, **settings)
    message = str(raised.value)
    assert "\n" not in message
    return message


ROWS: list[dict[str, Any]] = [
    {
        "id": "a",
        "question": "What was revenue?",
        "context": "Revenue | 5",
        "gold_answer": "5",
        "doc_link": "https://x.org",
    },
    {
        "id": "b",
        "question": "Who, if anyone?",
        "context": 'A "name"\nover two lines',
        "gold_answer": None,
        "doc_link": None,
    },
]
EXPECTED = [
    Question("a", "What was revenue?", "Revenue | 5", "5", "https://x.org"),
    Question("b", "Who, if anyone?", 'A "name"\nover two lines', None, None),
]


def jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_all_formats_give_the_same_questions(write: Write, tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "q.parquet")
    csv_text = (
        "id,question,context,gold_answer,doc_link\r\n"
        "a,What was revenue?,Revenue | 5,5,https://x.org\r\n"
        'b,"Who, if anyone?","A ""name""\nover two lines",,\r\n'
    )
    assert load(write("q.jsonl", jsonl(ROWS))) == EXPECTED
    assert load(write("q.csv", "\ufeff" + csv_text)) == EXPECTED
    assert load(str(tmp_path / "q.parquet")) == EXPECTED
    assert load(f"file://{tmp_path}/q.parquet", limit=1) == EXPECTED[:1]


def test_a_dataset_gives_the_same_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(tmp_path / "saved")
    datasets.DatasetDict({"test": data}).save_to_disk(tmp_path / "splits")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.jsonl").write_text(jsonl(ROWS))
    assert load_questions(DatasetQuestions(id=str(tmp_path / "saved"))) == EXPECTED
    assert load_questions(DatasetQuestions(id=str(tmp_path / "splits"), split="test")) == EXPECTED
    assert load_questions(DatasetQuestions(id=str(tmp_path / "folder"), limit=1)) == EXPECTED[:1]
    with pytest.raises(UserError, match=r"splits\[train\]: no such split"):
        load_questions(DatasetQuestions(id=str(tmp_path / "splits")))
    with pytest.raises(UserError, match=r"nothing\[train\]: "):
        load_questions(DatasetQuestions(id=str(tmp_path / "nothing")))
    with pytest.raises(UserError, match=r"saved\[train\]: no column 'query'; columns here: id, question"):
        load_questions(DatasetQuestions(id=str(tmp_path / "saved"), columns=Columns(question="query")))


def test_columns_are_mapped(write: Write) -> None:
    path = write("q.jsonl", '{"query": "Why?", "passage": "Because.", "gold": 8.7}\n')
    (question,) = load(path, columns=Columns(question="query", context="passage", gold_answer="gold"))
    assert (question.question, question.context, question.gold_answer) == ("Why?", "Because.", "8.7")


def test_ids_are_made_from_the_content(write: Write) -> None:
    path = write("q.jsonl", '{"question": "A?"}\n{"question": "B?"}\n{"question": "A?"}\n')
    first, other, again = (question.id for question in load(path))
    assert len(first) == 16
    assert again == f"{first}-2"
    assert len({first, other, again}) == 3
    assert load(write("r.jsonl", '{"question": "B?"}\n'))[0].id == other


def test_values_that_are_not_plain_text(write: Write) -> None:
    rows = [
        {"id": 7, "question": " What? ", "context": ["one", {"text": "two"}, ""], "gold_answer": 0},
        {"id": 8, "question": "What?", "context": None, "gold_answer": float("nan")},
        {"id": 9, "question": "line\u2028separator", "context": [], "gold_answer": ""},
    ]
    first, second, third = load(write("q.jsonl", jsonl(rows)))
    assert first == Question("7", "What?", "one\n\ntwo", "0")
    assert second == Question("8", "What?")
    assert third == Question("9", "line\u2028separator")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", '{"question": "A?"}\n\n{"question": \n', "q.jsonl:3: not JSON: "),
        ("q.jsonl", '{"question": "A?"}\n[1]\n', "q.jsonl:2: expected a JSON object (got a list)"),
        ("q.jsonl", '{"question": "A?"}\n{"question": " "}\n', "q.jsonl:2: empty question"),
        ("q.jsonl", '{"question": "A?"}\n{"question": null}\n', "q.jsonl:2: empty question"),
        ("q.jsonl", '{"question": "A?"}\n{"text": "A?"}\n', "q.jsonl:2: no column 'question'; columns here: text; "),
        ("q.jsonl", '{"question": ["A?"]}\n', "q.jsonl:1: question: expected a text or a number (got ['A?'])"),
        ("q.jsonl", '{"question": "A?", "context": [1]}\n', "q.jsonl:1: context: expected text, or a list"),
        ("q.jsonl", '{"question": "\\ud800"}\n', "q.jsonl:1: question: half of a surrogate pair"),
        ("q.jsonl", b'{"question": "A?"}\n{"question": "\xff"}\n', "q.jsonl:2: not UTF-8"),
        ("q.jsonl", '{"question": ' + "[" * 100_000, "q.jsonl:1: not JSON: "),
        ("q.jsonl", "\n\n", "q.jsonl: no questions"),
        ("q.csv", "", "q.csv: no questions"),
        ("q.csv", "question,gold_answer\n", "q.csv: no questions"),
        (
            "q.csv",
            "query,gold_answer\nA?,1\n",
            "q.csv: no column 'question'; columns here: query, gold_answer; columns.question",
        ),
        ("q.csv", 'question\n"A\nB?"\n" "\n', "q.csv:4: empty question"),
        ("q.csv", "question,gold_answer\nA?,1\nB?\n", "q.csv:3: 1 fields; expected 2"),
        ("q.csv", 'question\n"A?\n', "q.csv:2: not CSV: "),
        ("q.csv", "question,question\nA?,B?\n", "q.csv:1: two columns named 'question'"),
        ("q.parquet", b"PAR1 not really", "q.parquet: not Parquet: "),
        (
            "q.jsonl",
            '{"id": "x", "question": "A?"}\n{"id": "x", "question": "B?"}\n',
            "q.jsonl:2: id: 'x' is also that of ",
        ),
    ],
)
def test_bad_files_are_refused_with_their_line(write: Write, name: str, content: str | bytes, message: str) -> None:
    assert message in refusal(write(name, content))


def test_both_lines_of_a_repeated_id_are_named(write: Write) -> None:
    message = refusal(write("q.csv", "id,question\nx,A?\ny,B?\nx,C?\n"))
    assert "q.csv:4:" in message
    assert "q.csv:2;" in message


def test_a_parquet_row_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"question": ["A?", "B?", None], "other": [1, 2, 3]}), tmp_path / "q.parquet")
    assert "q.parquet: row 3: empty question" in refusal(str(tmp_path / "q.parquet"))
    assert "columns here: question, other" in refusal(str(tmp_path / "q.parquet"), columns=Columns(question="query"))


def test_missing_files_and_columns_that_the_recipe_names(write: Write, tmp_path: Path) -> None:
    assert refusal(str(tmp_path / "none.csv")).endswith("none.csv: no such file")
    assert "cannot be read: " in refusal("nowhere://q.csv")
    message = refusal(write("q.csv", "question\nA?\n"), columns=Columns(gold_answer="gold"))
    assert message.endswith(
        "q.csv: no column 'gold'; columns here: question; "
        "columns.gold_answer in the recipe names the column of the gold answer"
    )


def test_long_fields_of_a_csv_are_read(write: Write) -> None:
    assert len(load(write("q.csv", f"question,context\nA?,{'x' * 300_000}\n"))[0].context) == 300_000


@given(st.lists(st.text(min_size=1).filter(lambda text: text.strip()), min_size=1, max_size=5))
def test_any_text_survives_jsonl(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("any") / "q.jsonl"
    path.write_text(jsonl([{"question": text} for text in texts]))
    questions = load(str(path))
    assert [question.question for question in questions] == [text.strip() for text in texts]
    assert len({question.id for question in questions}) == len(texts)


def test_the_sha_depends_on_all_questions_and_their_order() -> None:
    first, second = EXPECTED
    assert questions_sha([first, second]) == questions_sha([first, second])
    others = [[second, first], [first], [], [Question("a", "What?"), second], [Question("a", "Wha", "t?"), second]]
    assert len({questions_sha(questions) for questions in [EXPECTED, *others]}) == 6


def test_the_demo_is_a_source() -> None:
    assert [question.id for question in load_questions(DemoQuestions(count=2, seed=3))] == [
        "demo-train-3-00000",
        "demo-train-3-00001",
    ]


CONTEXT = """Arden Foods, fiscal years ended June 30 (in millions)
 | 2023 | 2022
Net sales | $412.6 | $398.0
Other income (expense), net | $(3.2) | $(2.9)
Harlow & Pike LLP audited the statements. In fiscal 2023 the company had 4,310 employees. It paid no dividend."""


@pytest.mark.parametrize(
    ("question", "answer", "passage"),
    [
        ("What were net sales in fiscal 2023?", "$412.6 million", "Net sales | $412.6 | $398.0"),
        ("What was other income?", "It was -$3.2 million in 2023.", "Other income (expense), net | $(3.2) | $(2.9)"),
        ("Who audited?", "Harlow & Pike LLP", "Harlow & Pike LLP audited the statements."),
        ("How many people worked there?", "4310", "In fiscal 2023 the company had 4,310 employees."),
        ("Was a dividend paid?", "No", "It paid no dividend."),
        ("What were the net sales?", "$999.9 million", "Net sales | $412.6 | $398.0"),
        ("Whence?", "Elsewhere", ""),
    ],
)
def test_supporting_passage(question: str, answer: str, passage: str) -> None:
    assert supporting_passage(CONTEXT, question, answer) == passage


@given(st.text(), st.text(max_size=50), st.text(max_size=50))
def test_a_passage_is_part_of_its_context(context: str, question: str, answer: str) -> None:
    assert supporting_passage(context, question, answer) in context
    assert supporting_passage("", question, answer) == ""
