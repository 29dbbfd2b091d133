"""Columns that a person names, through the command line: read or refused in one line, and never ignored in silence."""

import json
import shlex
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

import rlaif
from rlaif.cli.main import app
from rlaif.data.question import Question
from rlaif.errors import UserError
from rlaif.io.column_names import parse_columns
from rlaif.judge_evals.gold_set import load_gold_set
from rlaif.recipe import GoldSetSection

CANDIDATES = 'query;target;answers\nSales?;$7 million;["$7 million", "$8 million"]\n'.replace(
    '["$7 million", "$8 million"]', '"[""$7 million"", ""$8 million""]"'
)
LABELS = "nr,query,target,one,two,better\n7,Sales?,$7 million,$7 million,$8 million,A\n"
LABEL_COLUMNS = "id=nr,question=query,gold_answer=target,answer_a=one,answer_b=two,human=better"
MARKS = "key\tasked\treply\tright\nq1\tSales?\t7\t1\nq1\tSales?\t0\tfalse\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    for name, content in {"c.csv": CANDIDATES, "l.csv": LABELS, "m.tsv": MARKS}.items():
        (tmp_path / name).write_text(content)
    return tmp_path


def command(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def refused(*words: str) -> str:
    result = command(*words)
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    return line


def labels_of(path: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


def test_label_reads_the_columns_that_a_person_names() -> None:
    named = ["--columns", "question=query", "--columns", "gold_answer=target"]
    done = command("label", "c.csv", "--judge", "reference", "-o", "p.parquet", "--json", *named)
    assert done.exit_code == 0, done.output
    (pair,) = pq.read_table("p.parquet").to_pylist()
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("$7 million", "$8 million")


@pytest.mark.parametrize("words", [("report", "reference"), ("compare", "reference", "reference")])
def test_measuring_a_judge_reads_the_columns_that_a_person_names(words: tuple[str, ...]) -> None:
    done = command("judge", *words, "--labels", "l.csv", "--columns", LABEL_COLUMNS, "--json")
    assert done.exit_code == 0, done.output
    assert '"labels": 1' in done.stdout


def test_marks_are_converted_with_the_columns_that_a_person_names(here: Path) -> None:
    (here / "q.json").write_text(json.dumps({"data": [{"key": "q1", "text": "Sales were 7.", "truth": [7, "seven"]}]}))
    done = command(
        "judge", "labels", "m.tsv", "-o", "out.jsonl", "--columns", "id=key,question=asked,answer=reply,label=right",
        "--questions", "q.json", "--question-columns", "id=key,context=text,gold_answer=truth",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (label,) = labels_of()
    assert {label["answer_a"], label["answer_b"]} == {"7", "0"}
    assert label["answer_a" if label["human"] == "a" else "answer_b"] == "7"
    assert (label["context"], label["gold_answer"]) == ("Sales were 7.", ["7", "seven"])


def test_predict_reads_the_columns_that_a_person_names(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Question] = []
    monkeypatch.setattr("rlaif.evaluation.predict._predict", lambda policy, section, questions, *_, **__: asked.extend(
        questions) or len(questions))  # fmt: skip
    (here / "q.tsv").write_text("query\tcontext\nWhy?\tnot this\n")
    words = ["predict", "--policy", "builtin:smollm2-135m", "--questions", "q.tsv", "-o", "a.csv"]
    done = command(*words, "--columns", "question=query,context=")
    assert done.exit_code == 0, done.output
    assert [(question.question, question.context) for question in asked] == [("Why?", "")]
    assert "q.tsv: no column 'question'; columns here: query, context; " in refused(*words)


def test_a_gold_set_reads_the_columns_of_the_recipe() -> None:
    columns = parse_columns([LABEL_COLUMNS]).by_field
    (label,) = load_gold_set(GoldSetSection(path="l.csv", columns=dict(columns)))
    assert (label.id, label.human, label.gold_answer) == ("7", "a", "$7 million")
    with pytest.raises(UserError, match=r"^l.csv: no column 'best'; .* judge.gold_set.columns.human in the recipe"):
        load_gold_set(GoldSetSection(path="l.csv", columns={**columns, "human": "best"}))


def test_functions_read_the_columns_that_a_person_names() -> None:
    (label,) = rlaif.read_labels("l.csv", dict(parse_columns([LABEL_COLUMNS]).by_field))
    assert label.answers == ("$7 million", "$8 million")
    judge, columns = rlaif.load_judge("reference"), {"question": "query", "gold_answer": "target"}
    assert rlaif.label("c.csv", judge, "p.parquet", columns=columns).counts.pairs == 1
    with pytest.raises(UserError, match=r"^columns=: quetion: unknown field; expected one of question, "):
        rlaif.read_questions("c.csv", {"quetion": "query"})
    with pytest.raises(UserError, match=r"^c.csv: no column 'q'; .* columns=\{'question': 'COLUMN'\} names the column"):
        rlaif.read_questions("c.csv", {"question": "q"})


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("quetion=query", "--columns: quetion: unknown field; expected one of question, "),
        ("question=Query", "c.csv: no column 'Query'; columns here: query, target, answers; --columns question=COLUMN"),
        ("question", "--columns question: expected FIELD=COLUMN, such as question=query"),
        ("=query", "--columns =query: expected FIELD=COLUMN"),
        ("question=query,question=target", "--columns: question is given twice; expected each field once"),
        ("question=", "c.csv: no column 'question'; columns here: query, target, answers; --columns question=COLUMN"),
    ],
)
def test_columns_that_cannot_be_read_are_one_line(columns: str, says: str) -> None:
    assert says in refused("label", "c.csv", "--judge", "reference", "-o", "p.parquet", "--columns", columns)
    assert not Path("p.parquet").exists()


def test_a_named_column_that_no_row_of_json_has_is_refused(here: Path) -> None:
    rows = [{"question": "a", "answers": ["x", "y"]}, {"question": "b", "gold": "1", "answers": ["x", "y"]}]
    (here / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["label", "c.jsonl", "--judge", "reference", "-o", "p.parquet", "--columns"]
    assert command(*words, "gold_answer=gold").exit_code == 0
    assert "c.jsonl: no column 'golden'; columns here: " in refused(*words, "gold_answer=golden")


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("Question;answers", "c.csv: column 'Question' looks like question; expected --columns question=Question to"),
        ("questoin;answers", "c.csv: column 'questoin' looks like question; expected --columns question=questoin"),
        ("question;Answers", "c.csv: column 'Answers' looks like answers; "),
        (
            "question;answers;Gold_Answer",
            "c.csv: column 'Gold_Answer' looks like gold_answer; expected --columns gold_answer=Gold_Answer to read it"
            ", or --columns gold_answer= to read none",
        ),
        (
            "question;answers;gold answer",
            "c.csv: column 'gold answer' looks like gold_answer; expected --columns 'gold_answer=gold answer' to read",
        ),
        ("question;answers;Reference", "c.csv: column 'Reference' looks like gold_answer; "),
        ("question;answers;contexts", "c.csv: column 'contexts' looks like context; "),
        ("question;answers;_id", "c.csv: column '_id' looks like id; "),
        (
            "Question;answers;GoldAnswer",
            "c.csv: columns 'Question', 'GoldAnswer' look like question, gold_answer; expected --columns "
            "question=Question,gold_answer=GoldAnswer to read them, or --columns question= to read none",
        ),
    ],
)
def test_a_column_that_looks_like_a_missing_field_is_asked_about(here: Path, header: str, says: str) -> None:
    cells = ["Why?", '"[""x"", ""y""]"', "1"][: header.count(";") + 1]
    (here / "c.csv").write_text(f"{header}\n{';'.join(cells)}\n")
    words = ["label", "c.csv", "--judge", "reference", "-o", "p.parquet"]
    assert says in refused(*words)


def test_what_a_message_says_to_write_is_read(here: Path) -> None:
    (here / "c.csv").write_text('question,answers,"Gold, Answer"\nWhy?,"[""x"", ""y""]",1\n')
    words = ["label", "c.csv", "--judge", "reference", "-o", "p.parquet"]
    says = refused(*words).partition("; expected ")[2].partition(" to read it")[0]
    assert says == """--columns '"gold_answer=Gold, Answer"'"""
    assert command(*words, *shlex.split(says)).exit_code == 0


@pytest.mark.parametrize("extra", ["content", "question_id", "model", "Title", "answerer", "index", "Question"])
def test_other_columns_are_ignored(here: Path, extra: str) -> None:
    (here / "c.csv").write_text(f'question,answers,{extra}\nWhy?,"[""x"", ""y""]",1\n')
    assert command("label", "c.csv", "--judge", "reference", "-o", "p.parquet").exit_code == 0


def test_what_was_asked_about_is_read_or_left_as_the_answer_says(here: Path) -> None:
    row = {"ID": 1, "question": "Sales?", "Gold answer": "$7", "answer_a": 7, "answer_b": 8, "human": "b"}
    (here / "l.jsonl").write_text(json.dumps(row))
    line = refused("judge", "report", "reference", "--labels", "l.jsonl")
    assert "l.jsonl:1: columns 'ID', 'Gold answer' look like id, gold_answer; " in line
    (read,) = rlaif.read_labels("l.jsonl", {"id": "ID", "gold_answer": "Gold answer"})
    assert (read.id, read.gold_answer, read.answers) == ("1", "$7", ("7", "8"))
    (left,) = rlaif.read_labels("l.jsonl", {"id": "ID", "gold_answer": None})
    assert left.gold_answer is None


def test_a_column_that_is_named_for_one_field_is_not_read_as_another(here: Path) -> None:
    (here / "c.jsonl").write_text('{"question": "Sales?", "answer": "$7", "responses": ["$7", "$8"]}\n')
    words = ["label", "c.jsonl", "--judge", "reference", "-o", "p.parquet", "--columns"]
    done = command(*words, "gold_answer=answer,answers=responses", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["counts"]["pairs"] == 1


@pytest.mark.parametrize(
    "words", [("train", "--policy", "builtin:smollm2-135m"), ("train-reward", "--heldout-share", "0")]
)
def test_training_reads_the_columns_that_a_person_names(
    here: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    (here / "p.csv").write_text("Prompt;win;lose\n2 + 2 =;4;5\n")
    command_, *more = words
    train = [command_, "p.csv", "-o", "out", *more]
    named = "prompt=Prompt,chosen=win,rejected=lose"
    assert "p.csv: column 'Prompt' looks like prompt" in refused(*train, "--columns", "chosen=win,rejected=lose")
    assert "p.csv: no column 'loose'; columns here: " in refused(*train, "--columns", named.replace("lose", "loose"))
    started: list[str] = []

    def start(*_: object, **__: object) -> None:
        started.append(command_)
        raise UserError("read")

    monkeypatch.setattr("rlaif.cluster.ray_cluster.ray_cluster", start)
    assert "rlaif: read" in refused(*train, "--columns", named)
    assert started == [command_]
