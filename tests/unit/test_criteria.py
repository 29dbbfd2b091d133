"""Rubrics of several weighted criteria: what is asked, how the marks are read, and where they are kept."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.candidates import read_candidates
from rlaif.data.criteria import (
    Criterion,
    Mark,
    criteria_bytes,
    criteria_tree,
    describe_criteria,
    rating_of,
    read_criteria,
)
from rlaif.data.labels import labels_jsonl, load_labels
from rlaif.data.question import Question
from rlaif.data.sources import load_questions, questions_sha
from rlaif.errors import UserError
from rlaif.inference.requests import ChatReply, ChatRequest
from rlaif.judges.build import build_judge
from rlaif.judges.check import check_judge
from rlaif.judges.judge import Verdict, stored_verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.session import shown_bytes
from rlaif.prompts.front_matter import PointwiseMarks
from rlaif.recipe import FileQuestions
from rlaif.reporting.judge.terminal import verdict_text
from rlaif.store.schemas import VERDICTS
from tests.endpoint import endpoint

TWO = (Criterion("Truth", 3.0, "Is it true?"), Criterion("Brevity", 1.0, scale=(0.0, 10.0)))
MARKS = PointwiseMarks(kind="pointwise", verdict="marks", scale=(1, 5), reason=False)
FILE = """kind: llm
prompt: criteria
criteria:
  Truth: {weight: 3, description: Is it true?}
  Brevity: {scale: [0, 10]}
"""


class Replying:
    """A backend that answers each request as a function of its prompt says."""

    identity = "replying"

    def __init__(self, *replies: str) -> None:
        self.replies, self.requests = list(replies), list[ChatRequest]()

    def vllm(self, model: str) -> "Replying":
        return self

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        self.requests += requests
        return [ChatReply(self.replies.pop(0), "stop", 9, 5, 0.1) for _ in requests]


def judged(folder: Path, question: Question, *replies: str, text: str = FILE) -> tuple[list[Verdict], Replying, Any]:
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    backend = Replying(*replies)
    judge = build_judge(load_judge_file(str(folder / "mine.yaml")), backend)  # type: ignore[arg-type]
    verdicts = asyncio.run(judge.verdicts(question, ["$7", "$8"]))
    return verdicts, backend, judge.decide(question.id, 2, verdicts)


def test_one_request_asks_for_all_marks_and_their_weighted_mean_is_the_rating(tmp_path: Path) -> None:
    replies = ('{"marks": {"Truth": 5, "Brevity": 5}}', '```json\n{"marks": {"brevity": "0", "TRUTH": 1}}\n```')
    verdicts, backend, (decision,) = judged(tmp_path, Question("q", "Sales?"), *replies)
    # Brevity's 5 of 0 to 10 is 3 of 1 to 5.
    assert [verdict.score for verdict in verdicts] == [(3 * 5 + 3) / 4, 1.0]
    assert verdicts[0].marks == (Mark("Truth", 5.0, 3.0), Mark("Brevity", 5.0, 1.0))
    assert (decision.status, decision.preference, decision.margin) == ("ok", 1.0, 3.5)
    assert len(backend.requests) == 2
    asked = backend.requests[0]
    assert "- Truth, from 1 to 5: Is it true?\n- Brevity, from 0 to 10\n" in asked.messages[-1]["content"]
    marks = json.loads(asked.schema or "")["properties"]["marks"]
    assert marks["required"] == ["Truth", "Brevity"]
    assert marks["properties"]["Truth"]["enum"] == [1, 2, 3, 4, 5]
    assert not marks["additionalProperties"]


def test_a_questions_own_criteria_take_the_place_of_the_judges(tmp_path: Path) -> None:
    own = Question("q", "Sales?", criteria=(Criterion("Unit", 2.0, "Is the unit given?"),))
    verdicts, backend, _ = judged(tmp_path, own, '{"marks": {"Unit": 4}}', '{"marks": {"Truth": 4}}')
    assert [(verdict.status, verdict.score) for verdict in verdicts] == [("ok", 4.0), ("unparsed", None)]
    assert "Truth" not in backend.requests[0].messages[-1]["content"]
    without = "kind: llm\nprompt: criteria\n"
    verdicts, _, decisions = judged(tmp_path, own, *['{"Unit": 4}'] * 2, text=without)
    assert [verdict.marks for verdict in verdicts] == [(Mark("Unit", 4.0, 2.0),)] * 2
    assert decisions[0].status == "tie"
    # Without any criteria the judge does not apply, and asks nothing.
    assert judged(tmp_path, Question("q", "Sales?"), text=without)[0] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Truth: 5, Brevity: 5",
        '{"marks": {"Truth": 5}}',
        '{"marks": {"Truth": 5, "Brevity": null}}',
        '{"marks": {"Truth": 5, "Brevity": 11}}',
        '{"marks": {"Truth": 0, "Brevity": 5}}',
        '{"marks": {"Truth": 4.5, "Brevity": 5}}',
        '{"marks": {"Truth": true, "Brevity": 5}}',
        '{"marks": {"Truth": NaN, "Brevity": 5}}',
        '{"marks": {"Truth": "high", "Brevity": 5}}',
        '{"marks": {"Truth": 5, "truth": 1, "Brevity": 5}}',
        '{"marks": {"Truth": 5, "Truth": 1, "Brevity": 5}}',
        '{"marks": [5, 5]}',
        '{"marks": {"Truth": 5, "Brevity": 5}} {"marks": {"Truth": 1, "Brevity": 1}}',
        '{"marks": {"Truth": 5, "Brevity": 5}',
    ],
)
def test_a_missing_or_unreadable_mark_leaves_the_verdict_unparsed(text: str) -> None:
    reading = MARKS.reader(TWO).of_text(text)
    assert (reading.status, reading.value, reading.marks) == ("unparsed", None, ())


def test_the_rating_is_exact_so_that_no_rounding_prefers_an_answer() -> None:
    criteria = (Criterion("a", 0.1), Criterion("b", 0.2))
    # Both are 0.9 / 0.3, which floating point rounds to two numbers.
    assert (0.1 * 1 + 0.2 * 4) / (0.1 + 0.2) != (0.1 * 3 + 0.2 * 3) / (0.1 + 0.2)
    assert rating_of({"a": 1, "b": 4}, criteria, (1, 5)) == rating_of({"a": 3, "b": 3}, criteria, (1, 5)) == 3.0


def test_the_schema_of_the_same_criteria_is_made_once() -> None:
    assert MARKS.reader(TWO).answer_schema is MARKS.reader(list(TWO)).answer_schema


@given(st.lists(st.tuples(st.text(), st.text(), st.floats(-1e9, 1e9) | st.none()), max_size=4))
def test_the_room_for_a_questions_own_criteria_holds_them(drawn: list[tuple[str, str, float | None]]) -> None:
    criteria = tuple(
        Criterion(name, 1.0, what, None if low is None else (low, low + 1e10)) for name, what, low in drawn
    )
    bytes_shown = len(describe_criteria(criteria, (-12345.6, 1e-20)).encode(errors="surrogatepass"))
    assert bytes_shown <= criteria_bytes(criteria)
    asked = Question("q", "Sales?", criteria=criteria)
    assert shown_bytes(asked, ["x"]) - shown_bytes(replace(asked, criteria=()), ["x"]) >= bytes_shown


@given(
    st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 10)), min_size=1, max_size=5),
    st.sampled_from([(0.0, 10.0), (1.0, 5.0)]),
)
def test_a_rating_lies_on_the_scale_and_grows_with_each_mark(
    given_: list[tuple[float, int]], scale: tuple[float, float]
) -> None:
    criteria = tuple(Criterion(str(index), weight, scale=(0.0, 10.0)) for index, (weight, _) in enumerate(given_))
    marks = {str(index): float(mark) for index, (_, mark) in enumerate(given_)}
    rating = rating_of(marks, criteria, scale)
    assert scale[0] <= rating <= scale[1]
    mean = sum(Fraction(w) * m for w, m in given_) / sum(Fraction(w) for w, _ in given_)
    assert rating == pytest.approx(float(scale[0] + float(mean) / 10 * (scale[1] - scale[0])))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: llm\nprompt: criteria\ncriteria: {a: {weight: 0}}", "criteria.a.weight: expected greater than 0"),
        ("kind: llm\nprompt: criteria\ncriteria: {a: {scale: [5, 1]}}", "criteria.a.scale: expected the least and"),
        ("kind: llm\nprompt: criteria\ncriteria: {a: {}, A: {}}", "criteria: a name is empty, or differs"),
        ("kind: llm\nprompt: rubric\ncriteria: {a: {}}", "criteria: "),
        ("kind: llm\nprompt: criteria\ncriteria: {a: {wieght: 1}}", "criteria.a.wieght: unknown key"),
    ],
)
def test_criteria_of_a_judge_file_are_checked(text: str, problem: str, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_judge_file(str(tmp_path / "mine.yaml"))
    assert problem in str(caught.value)
    assert check_judge("criteria") == check_judge("criteria:reasoning") == []


def test_criteria_are_read_from_every_kind_of_rows(tmp_path: Path) -> None:
    tree = {"Truth": {"weight": 3, "description": "Is it true?"}, "Brevity": {"scale": [0, 10]}}
    label = {"id": "1", "question": "Sales?", "answer_a": "$7", "answer_b": "$8", "human": "a", "criteria": tree}
    (tmp_path / "labels.jsonl").write_text(json.dumps(label), encoding="utf-8")
    (read,) = load_labels(str(tmp_path / "labels.jsonl"))
    assert read.as_question.criteria == TWO
    (tmp_path / "again.jsonl").write_bytes(labels_jsonl([read]))
    assert load_labels(str(tmp_path / "again.jsonl")) == [read]
    (tmp_path / "answers.jsonl").write_text(
        json.dumps({"question": "Sales?", "answers": ["$7", "$8"], "criteria": tree}), encoding="utf-8"
    )
    assert read_candidates(str(tmp_path / "answers.jsonl"))[0].as_question.criteria == TWO
    rows = [{"question": "Sales?", "criteria": tree}, {"question": "Costs?", "criteria": {"Unit": {"weight": 2}}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "questions.parquet")
    one, other = load_questions(FileQuestions(path=str(tmp_path / "questions.parquet")))
    assert (one.criteria, other.criteria) == (TWO, (Criterion("Unit", 2.0),))
    (tmp_path / "questions.csv").write_text(
        'question,criteria\nSales?,"{""Unit"": {""weight"": 2}}"\nCosts?,\n', encoding="utf-8"
    )
    one, other = load_questions(FileQuestions(path=str(tmp_path / "questions.csv")))
    assert (one.criteria, other.criteria) == ((Criterion("Unit", 2.0),), ())
    assert questions_sha([one]) != questions_sha([Question(one.id, one.question)])
    (tmp_path / "questions.csv").write_text("question,criteria\nSales?,good\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"questions\.csv:2: criteria: not JSON"):
        load_questions(FileQuestions(path=str(tmp_path / "questions.csv")))
    with pytest.raises(ValueError, match=r"^a\.weight: expected greater than 0"):
        read_criteria({"a": {"weight": -1}})
    assert read_criteria(criteria_tree(TWO)) == TWO


def test_marks_are_stored_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLAIF_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    labels = [
        {"id": number, "question": question, "answer_a": "$7", "answer_b": "$8", "human": "b"}
        for number, question in (("1", "Sales?"), ("2", "Costs?"))
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels), encoding="utf-8")
    replies = [f'{{"marks": {{"Truth": {truth}, "Brevity": 10}}}}' for truth in (5, 1, 5)] + ['{"marks": {"Truth": 1}}']
    with endpoint(lambda exchange, number: exchange.say(replies[number - 1])) as server:
        backend = f"backend: {{type: openai, model: m, base_url: {server.url}, concurrency: 1}}\n"
        (tmp_path / "mine.yaml").write_text(FILE + backend, encoding="utf-8")
        arguments = ["judge", "report", str(tmp_path / "mine.yaml"), "--labels", str(tmp_path / "labels.jsonl")]
        result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out"), "--json"])
        assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["figures"]["unparsed"]["value"] == 0.5
    stored = pq.read_table(tmp_path / "out" / "verdicts.parquet")
    assert stored.schema.names == VERDICTS.names
    first, *_, last = [stored_verdict(row) for row in stored.to_pylist()]
    assert (first.score, first.marks) == (5.0, (Mark("Truth", 5.0, 3.0), Mark("Brevity", 10.0, 1.0)))
    assert (last.status, last.marks) == ("unparsed", ())
    assert verdict_text(first) == "answer_a alone: score 5 from Truth 5 (weight 3), Brevity 10 (weight 1)"
    assert "Brevity 10 (weight 1)" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
