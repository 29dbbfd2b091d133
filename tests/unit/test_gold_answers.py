"""Gold answers of files: one or several, numbers as text, and one clear line for anything else."""

import asyncio
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rlaif.data.candidates import read_candidates
from rlaif.data.gold_answer import GoldAnswer, shown_gold_answer
from rlaif.data.label_conversion import convert_labels
from rlaif.data.labels import labels_jsonl, load_labels
from rlaif.data.question import Question
from rlaif.data.sources import load_questions, questions_sha
from rlaif.errors import UserError
from rlaif.evaluation.heldout import answer_questions
from rlaif.inference.requests import Candidate, SampleReply, SampleRequest
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.judges.session import shown_bytes
from rlaif.progress import Silent
from rlaif.recipe.questions import FileQuestions

Read = Callable[[str], GoldAnswer | None]
READERS: dict[str, Read] = {
    "questions": lambda path: load_questions(FileQuestions(path=path))[0].gold_answer,
    "candidates": lambda path: read_candidates(path)[0].as_question.gold_answer,
    "labels": lambda path: load_labels(path)[0].gold_answer,
    "marks": lambda path: convert_labels(path).labels[0].gold_answer,
}


def row_of(kind: str, gold_answer: Any) -> list[dict[str, Any]]:
    base = {"question": "What was it?", "gold_answer": gold_answer}
    if kind == "candidates":
        return [base | {"answers": ["x", "y"]}]
    if kind == "labels":
        return [base | {"id": "1", "answer_a": "x", "answer_b": "y", "human": "a"}]
    if kind == "marks":
        return [base | {"id": "1", "answer": mark, "label": mark} for mark in ("correct", "incorrect")]
    return [base]


def written(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("$7 million", "$7 million"),
        (["$7 million", "7,000 thousand"], ("$7 million", "7,000 thousand")),
        (["$7 million"], "$7 million"),
        (7, "7"),
        (7.25, "7.25"),
        ([7, "seven"], ("7", "seven")),
        ([], None),
        ("", None),
        (None, None),
    ],
)
def test_one_or_several(tmp_path: Path, kind: str, value: Any, read: GoldAnswer | None) -> None:
    assert READERS[kind](written(tmp_path / "rows.jsonl", row_of(kind, value))) == read


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "gold_answer: expected a text, a number, or a list of them (got True)"),
        ({"text": "7"}, "gold_answer: expected a text, a number, or a list of them"),
        ([["7"]], "gold_answer: expected a text, a number, or a list of them (got [['7']])"),
        (["7", None], "gold_answer: a list with an empty text; expected texts or numbers (got ['7', None])"),
        (["7", " "], "gold_answer: a list with an empty text; expected texts or numbers (got ['7', ' '])"),
    ],
)
def test_anything_else_is_one_line(tmp_path: Path, kind: str, value: Any, said: str) -> None:
    path = written(tmp_path / "rows.jsonl", row_of(kind, value))
    with pytest.raises(UserError) as error:
        READERS[kind](path)
    assert str(error.value).startswith(f"{path}:1: {said}")
    assert "\n" not in str(error.value)


def test_parquet_has_lists_too(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.parquet")
    pq.write_table(pa.Table.from_pylist(row_of("questions", ["7", "seven"])), path)
    assert READERS["questions"](path) == ("7", "seven")


def test_a_date_is_read_as_its_text(tmp_path: Path) -> None:
    path = str(tmp_path / "rows.parquet")
    pq.write_table(pa.Table.from_pylist(row_of("questions", date(2022, 3, 31))), path)
    assert READERS["questions"](path) == "2022-03-31"


def test_a_label_with_several_is_written_and_read_back(tmp_path: Path) -> None:
    (label,) = load_labels(written(tmp_path / "labels.jsonl", row_of("labels", ["7", "seven"])))
    (tmp_path / "again.jsonl").write_bytes(labels_jsonl([label]))
    assert load_labels(str(tmp_path / "again.jsonl")) == [label]
    assert label.as_question.gold_answer == ("7", "seven")


def test_a_model_is_shown_all_of_them() -> None:
    asked = Question("q", "What was it?", gold_answer=("$7 million", "7,000 thousand"))
    assert shown_gold_answer(asked.gold_answer) == "$7 million, or: 7,000 thousand"
    spec = load_judge_file("finance-correctness")
    assert isinstance(spec, LlmSpec)
    (*_, last) = spec.render(asked, answer_a="x", answer_b="y")
    assert "$7 million, or: 7,000 thousand" in last["content"]
    assert shown_bytes(asked, ["x"]) > len("$7 million, or: 7,000 thousand")


def test_other_gold_answers_are_other_questions() -> None:
    golds: list[GoldAnswer] = ["7", ("7", "seven"), ("seven", "7")]
    assert len({questions_sha([Question("q", "?", gold_answer=gold)]) for gold in golds}) == 3


def test_heldout_answers_are_scored_against_the_best_and_with_the_questions_words() -> None:
    class Pool:
        async def sample(self, request: SampleRequest) -> tuple[SampleReply, None]:
            text = {"figure": "$1.577 billion", "text": "It is Alder & Finch LLP.", "none": "?"}[request.id]
            return SampleReply(request.id, [], [Candidate(text, [1, 2], [], "stop", 0)], "policy"), None

    questions = [
        Question("figure", "What was it, in USD millions?", gold_answer="1577"),
        Question("text", "Who is the auditor?", gold_answer=("KPMG", "Alder & Finch")),
        Question("none", "Why?"),
    ]
    answers = asyncio.run(
        answer_questions(
            Pool(),  # type: ignore[arg-type]
            questions, lambda question: [], max_tokens=8, progress=Silent(),
        )
    )  # fmt: skip
    assert [(answer.score, answer.exact, answer.reference) for answer in answers] == [
        (1.0, True, "1577"), (1.0, False, "KPMG, or: Alder & Finch"), (None, None, None),
    ]  # fmt: skip
    assert answers[1].f1 == pytest.approx(2 * 2 / (2 + 5))
