"""`rlaif label`: reading answers of other systems, and making pairs of them."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.candidates import read_candidates
from rlaif.errors import UserError
from rlaif.store.schemas import PAIRS, VERDICTS


def written(path: Path, *rows: Any) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_answers_come_as_a_list_or_one_a_row(tmp_path: Path) -> None:
    several = {"id": 7, "question": "q", "context": "c", "gold_answer": "r", "answers": ["x", "y"], "temperature": 0.7}
    one, other = ({"question": "p", "answer": answer, "id": name} for name, answer in (("a", "x"), ("b", "")))
    listed, flat = read_candidates(written(tmp_path / "c.jsonl", several, one, other))
    assert (listed.as_question.id, listed.as_question.context, listed.as_question.gold_answer, listed.answers) == (
        "7", "c", "r", ("x", "y"),
    )  # fmt: skip
    assert (flat.as_question.id, flat.as_question.gold_answer, flat.answers) == ("a", None, ("x", ""))


def test_csv_has_one_answer_a_row(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("question,answer,gold_answer\nq,x,\nq,y,\n", encoding="utf-8")
    (found,) = read_candidates(str(tmp_path / "c.csv"))
    assert (found.as_question.id, found.as_question.gold_answer, found.answers) == ("1", None, ("x", "y"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"answer": "x"}, "no column 'question'; columns here: answer; --columns question=COLUMN names"),
        ({"question": " ", "answer": "x"}, "question: empty; expected a text"),
        ({"question": "q"}, "no answers; expected answers (a list) or answer; columns here: question"),
        ({"question": "q", "answer": "x", "answers": ["y"]}, "has both answers and answer; expected one of the two"),
        ({"question": "q", "answers": []}, "answers: expected a list of texts (got [])"),
        ({"question": "q", "answers": "x"}, "answers: expected a list of texts (got 'x')"),
        ({"question": "q", "answers": ["x", None]}, "answers.1: expected a text or a number (got None)"),
        ({"question": "q", "answer": "\ud800"}, "answer: half of a surrogate pair; expected valid Unicode text"),
        ({"question": "first", "answer": "x", "gold_answer": "2"}, "gold_answer: differs from the one at "),
        ({"question": "q", "answer": "x", "id": "1"}, "id: '1' is also that of "),
    ],
)
def test_a_faulty_row_is_named_with_its_field(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = written(tmp_path / "c.jsonl", {"id": "1", "question": "first", "answer": "x", "gold_answer": "1"}, row)
    with pytest.raises(UserError) as error:
        read_candidates(path)
    assert str(error.value).startswith(f"{path}:2: {said}")


def labelled(tmp_path: Path, *arguments: str) -> dict[str, Any]:
    rows = [
        {"id": "q1", "question": "Sales?", "gold_answer": "$7 million",
         "answers": ["$7 million", "$8", "$7,000 thousand"]},
        {"id": "q2", "question": "Costs?", "gold_answer": "$3", "answers": ["$3", "$3", "$4"]},
        {"id": "q3", "question": "Alone?", "gold_answer": "$3", "answers": ["$3"]},
        {"id": "q4", "question": "No reference?", "answers": ["$3", "$4"]},
    ]  # fmt: skip
    source, output = written(tmp_path / "c.jsonl", *rows), str(tmp_path / "pairs.parquet")
    result = CliRunner().invoke(app, ["label", source, "--judge", "reference", "-o", output, "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_only_decided_comparisons_become_pairs_and_all_are_counted(tmp_path: Path) -> None:
    outcome = labelled(tmp_path)
    assert (outcome["questions"], outcome["single"], outcome["answers"]) == (4, 1, 9)
    assert outcome["counts"]["by_status"] == {"ok": 4, "tie": 2}
    assert outcome["counts"]["pairs"] == 4
    table = pq.read_table(outcome["pairs"])
    assert table.schema.equals(PAIRS)
    pairs = table.to_pylist()
    assert [(p["prompt_id"], p["chosen"][0]["content"], p["rejected"][0]["content"]) for p in pairs] == [
        ("q1", "$7 million", "$8"), ("q1", "$7,000 thousand", "$8"), ("q2", "$3", "$4"), ("q2", "$3", "$4"),
    ]  # fmt: skip
    assert len({pair["pair_id"] for pair in pairs}) == 4
    assert {(pair["source"], pair["judge"], pair["policy"]) for pair in pairs} == {("ai", "reference", None)}
    assert pairs[0]["prompt"][-1] == {"role": "user", "content": "Question: Sales?"}
    verdicts = pq.read_table(outcome["verdicts"])
    assert verdicts.schema.equals(VERDICTS)
    assert {verdict["judge_sha"] for verdict in verdicts.to_pylist()} == {pair["judge_sha"] for pair in pairs}
    made_by = json.loads(table.schema.metadata[b"rlaif"])
    assert made_by["judge"]["name"] == "reference"


def test_pairs_are_chosen_as_in_a_run(tmp_path: Path) -> None:
    assert labelled(tmp_path, "--set", "pairs.per_question=best-worst")["counts"]["pairs"] == 2
    assert labelled(tmp_path, "--set", "pairs.min_margin=1.0")["counts"]["below_margin"] == 0


def test_pairs_load_into_datasets(tmp_path: Path) -> None:
    from datasets import load_dataset

    pairs = load_dataset(
        "parquet", data_files=labelled(tmp_path)["pairs"], split="train", cache_dir=str(tmp_path / "cache")
    )
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
    assert pairs[0]["chosen"][0]["role"] == "assistant"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--judge", "reference", "-o", "pairs.csv"], "--output pairs.csv: expected a file of .parquet"),
        (["--judge", "nobody", "-o", "p.parquet"], "nobody: no judge by that name"),
        (["--judge", "reference", "-o", "p.parquet", "--prompt", "finance-grounded"], "--prompt expects kind answer"),
        (["--judge", "reference", "-o", "p.parquet", "--set", "pairs.x=1"], "pairs.x: unknown key"),
    ],
)
def test_wrong_use_ends_with_one_line_and_code_2(tmp_path: Path, arguments: list[str], said: str) -> None:
    source = written(tmp_path / "c.jsonl", {"question": "q", "answers": ["x", "y"]})
    result = CliRunner().invoke(app, ["label", source, *arguments])
    assert result.exit_code == 2
    assert said in result.output
    assert "Traceback" not in result.output
