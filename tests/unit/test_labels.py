"""Label files: reading, error messages, and conversion of published files."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.label_conversion import Part, convert_labels, parse_part
from rlaif.data.labels import Label, labels_jsonl, load_labels
from rlaif.errors import UserError

GOOD: dict[str, Any] = {"id": "1", "question": "What?", "answer_a": "x", "answer_b": "y", "human": "a"}


def written(path: Path, *rows: Any) -> str:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return str(path)


def test_a_label_file_is_read_unchanged(tmp_path: Path) -> None:
    full = GOOD | {"id": "2", "context": "c", "gold_answer": "r", "human": "tie"}
    one, two = load_labels(written(tmp_path / "labels.jsonl", GOOD, "", full))
    assert (one.human, one.as_question.context, one.as_question.gold_answer, one.answers) == ("a", "", None, ("x", "y"))
    assert (two.human, two.as_question.context, two.as_question.gold_answer) == ("tie", "c", "r")
    assert load_labels(str(tmp_path / "labels.jsonl"), limit=1) == [one]


def test_csv_and_parquet_have_the_same_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "labels.csv").write_text("id,question,gold_answer,answer_a,answer_b,human\n1,What?,,x,,b\n", "utf-8")
    row = {"id": "1", "question": "What?", "gold_answer": None, "answer_a": "x", "answer_b": "", "human": "b"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "labels.parquet")
    assert load_labels(str(tmp_path / "labels.csv")) == load_labels(str(tmp_path / "labels.parquet"))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({k: v for k, v in GOOD.items() if k != "human"}, "no column 'human'; columns here: id, question, "),
        (GOOD | {"human": "c"}, "human: expected 'a', 'b' or 'tie' (got 'c')"),
        (GOOD | {"refernce": "7"}, "column 'refernce' looks like gold_answer; expected --columns gold_answer=refernce"),
        (GOOD | {"question": " "}, "question: empty; expected a text"),
        (GOOD | {"answer_a": None}, "answer_a: expected a text or a number (got None)"),
        (GOOD | {"answer_a": True}, "answer_a: expected a text or a number (got True)"),
        (GOOD | {"id": None}, "id: expected a text or a number (got None)"),
        (GOOD | {"id": " "}, "id: empty; expected a text"),
        (GOOD | {"answer_b": "\ud800"}, "answer_b: half of a surrogate pair; expected valid Unicode text"),
        (["a"], "expected a JSON object"),
        ("{", "not JSON"),
    ],
)
def test_a_faulty_line_is_named_with_its_field(tmp_path: Path, row: Any, said: str) -> None:
    path = written(tmp_path / "labels.jsonl", GOOD, row)
    with pytest.raises(UserError) as error:
        load_labels(path)
    assert str(error.value).startswith(f"{path}:2: {said}")


def test_a_repeated_id_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.jsonl", GOOD, GOOD)
    with pytest.raises(UserError, match=r"labels.jsonl:2: id: '1' is also that of .*labels.jsonl:1"):
        load_labels(path)


def test_no_label_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no labels"):
        load_labels(written(tmp_path / "labels.jsonl", ""))


def test_the_error_for_another_form_names_its_conversion(tmp_path: Path) -> None:
    row = {"id": "1", "instruction": "i", "output_1": "x", "output_2": "y", "label": 1}
    with pytest.raises(UserError, match="rlaif judge labels"):
        load_labels(written(tmp_path / "labels.jsonl", row))


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"]), min_size=1).filter(str.strip)


@given(st.lists(st.builds(Label, id=texts.map(str.strip), question=texts, context=st.text(st.characters(codec="utf-8")),
                          gold_answer=st.none() | texts, answer_a=st.text(st.characters(codec="utf-8")),
                          answer_b=texts, human=st.sampled_from(["a", "b", "tie"])),
                min_size=1, max_size=4, unique_by=lambda label: label.id))  # fmt: skip
def test_a_written_file_reads_back(tmp_path_factory: pytest.TempPathFactory, labels: list[Label]) -> None:
    path = tmp_path_factory.mktemp("labels") / "labels.jsonl"
    path.write_bytes(labels_jsonl(labels))
    assert load_labels(str(path)) == labels


def llmbar(label: Any, **more: Any) -> dict[str, Any]:
    return {"instruction": "i", "output_1": "x", "output_2": "y", "label": label, **more}


def test_llmbar_pairs_keep_their_sides(tmp_path: Path) -> None:
    path = written(tmp_path / "pairs.jsonl", llmbar(1, id="n1"), llmbar(2))
    converted = convert_labels(path)
    assert converted.format == "llmbar"
    assert [(label.id, label.human, label.answers) for label in converted.labels] == [
        ("n1", "a", ("x", "y")), ("2", "b", ("x", "y")),
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"pairs.jsonl:1: label: expected 1 or 2, the better output \(got 3\)"):
        convert_labels(written(tmp_path / "pairs.jsonl", llmbar(3)))


def marks(*said: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"id": name, "question": f"q {name}", "answer": answer, "label": mark} for name, answer, mark in said]


def test_marks_become_pairs_of_a_right_and_another_answer_of_one_question(tmp_path: Path) -> None:
    rows = marks(
        ("1", "right", "Correct Answer"), ("1", "wrong", "Incorrect Answer"), ("1", "no", "Refusal"),
        ("2", "alone", "Correct Answer"), ("3", "wrong", "Incorrect Answer"), ("3", "no", "Refusal"),
    )  # fmt: skip
    converted = convert_labels(written(tmp_path / "marks.jsonl", *rows))
    assert converted.counts == {
        "correct": 2, "incorrect": 2, "refusal": 2, "questions": 3, "questions with a pair": 1, "labels": 2,
    }  # fmt: skip
    better = [label.answer_a if label.human == "a" else label.answer_b for label in converted.labels]
    worse = [label.answer_b if label.human == "a" else label.answer_a for label in converted.labels]
    assert (better, worse) == (["right", "right"], ["wrong", "no"])
    assert Counter(label.human for label in converted.labels) == {"a": 1, "b": 1}


def test_the_same_two_texts_make_one_pair_and_a_text_marked_both_ways_makes_no_pair(tmp_path: Path) -> None:
    rows = marks(
        ("1", "right", "correct"), ("1", "right ", "correct"), ("1", "wrong", "incorrect"), ("1", "?", "correct"),
        ("1", "?", "incorrect"),
    )  # fmt: skip
    assert len(convert_labels(written(tmp_path / "marks.jsonl", *rows)).labels) == 1


def test_questions_give_the_context_and_the_gold_answer(tmp_path: Path) -> None:
    rows = marks(("1", "right", "correct"), ("1", "wrong", "incorrect"))
    path = written(tmp_path / "marks.jsonl", *[row | {"gold_answer": "0.103"} for row in rows])
    assert [(x.context, x.gold_answer) for x in convert_labels(path).labels] == [("", "0.103")]
    questions = written(tmp_path / "questions.jsonl", {"id": "1", "context": "filing", "gold_answer": "10.3%"})
    assert [(x.context, x.gold_answer) for x in convert_labels(path, questions=questions).labels] == [
        ("filing", "10.3%")
    ]
    other = written(tmp_path / "questions.jsonl", {"id": "2", "context": "filing", "gold_answer": "10.3%"})
    with pytest.raises(UserError, match=r"marks.jsonl:1: id: '1' is not in"):
        convert_labels(path, questions=other)


def test_a_questions_file_without_contexts_leaves_those_of_the_marks(tmp_path: Path) -> None:
    rows = marks(("1", "right", "correct"), ("1", "wrong", "incorrect"))
    path = written(tmp_path / "marks.jsonl", *[row | {"context": "filing"} for row in rows])
    questions = written(tmp_path / "questions.jsonl", {"id": "1", "gold_answer": "5"})
    (label,) = convert_labels(path, questions=questions).labels
    assert (label.context, label.gold_answer) == ("filing", "5")


def test_answers_on_different_contexts_make_no_pair(tmp_path: Path) -> None:
    """What is right of one document may be wrong of another."""
    rows = [{"question": "Sales?", "context": context, "answer": answer, "label": label}
            for context, answer, label in (("A", "5", 1), ("A", "7", 0), ("B", "6", 1), ("B", "5", 0))]  # fmt: skip
    found = convert_labels(written(tmp_path / "marks.jsonl", *rows)).labels
    assert [(label.context, sorted(label.answers)) for label in found] == [("A", ["5", "7"]), ("B", ["5", "6"])]
    assert len({label.id for label in found}) == 2


@pytest.mark.parametrize("field", ["question", "context", "gold_answer"])
def test_marks_of_one_id_are_of_one_question(tmp_path: Path, field: str) -> None:
    first, second = marks(("1", "right", "correct"), ("1", "wrong", "incorrect"))
    path = written(tmp_path / "marks.jsonl", {**first, field: "x"}, {**second, field: "y"})
    with pytest.raises(UserError, match=rf"marks.jsonl:2: {field}: differs from the one of an earlier row with the id"):
        convert_labels(path)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"question": "q", "answer": "a", "label": "wrong"}, "label: expected Correct Answer, Incorrect Answer or"),
        ({"question": "q", "answer": True, "label": "correct"}, "answer: expected a text or a number (got True)"),
        (
            {"question": "q", "answer": "a", "label": 2},
            "label: expected Correct Answer, Incorrect Answer or Refusal, or 1",
        ),
        ({"question": "q", "answer": "a"}, "neither format: llmbar has instruction"),
    ],
)
def test_a_faulty_row_of_marks_is_named(tmp_path: Path, row: Any, said: str) -> None:
    path = written(tmp_path / "marks.jsonl", row)
    with pytest.raises(UserError) as error:
        convert_labels(path)
    assert str(error.value).startswith(f"{path}:1: {said}")


def test_marks_without_a_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="yields no labels"):
        convert_labels(written(tmp_path / "marks.jsonl", *marks(("1", "x", "correct"))))


def test_financebenchs_marks(shared_data: Path) -> None:
    """The 1,264 marks always give the same labels, with the better answer first in half of them."""
    folder = shared_data / "financebench"
    source, questions = str(folder / "human_labels.jsonl"), str(folder / "questions.jsonl")
    every = convert_labels(source, questions=questions)
    assert every.rows == 1264
    assert {name: every.counts[name] for name in ("correct", "incorrect", "refusal")} == {
        "correct": 599, "incorrect": 282, "refusal": 383,
    }  # fmt: skip
    sides = Counter(label.human for label in every.labels)
    assert abs(sides["a"] - sides["b"]) <= 1
    assert all(label.context and label.gold_answer for label in every.labels)
    few = convert_labels(source, questions=questions, max_pairs_per_question=4, seed=3)
    assert max(Counter(label.question for label in few.labels).values()) == 4
    again = convert_labels(source, questions=questions, max_pairs_per_question=4, seed=3)
    assert labels_jsonl(again.labels) == labels_jsonl(few.labels)
    other = convert_labels(source, questions=questions, max_pairs_per_question=4, seed=4)
    assert labels_jsonl(other.labels) != labels_jsonl(few.labels)


def test_parts_share_no_question_and_lose_no_question(shared_data: Path) -> None:
    source = str(shared_data / "financebench" / "human_labels.jsonl")
    every = {label.question for label in convert_labels(source).labels}
    one, two = ({x.question for x in convert_labels(source, part=Part(n, 2)).labels} for n in (1, 2))
    assert (one | two, one & two) == (every, set())
    assert min(len(one), len(two)) > len(every) // 4


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2", "1/2/3", "²/3"])
def test_a_part_is_k_of_n(text: str) -> None:
    with pytest.raises(UserError, match="--part"):
        parse_part(text)


def test_half_is_a_part() -> None:
    assert parse_part("2/2") == Part(2, 2)
