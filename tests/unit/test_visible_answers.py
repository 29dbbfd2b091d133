"""The thinking in policies' answers: no judge sees it, and an answer that is only thinking is never preferred."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.question import Question
from rlaif.judges.build import build_judge, open_judge
from rlaif.judges.decisions import decide_by_orders, decide_by_scores
from rlaif.judges.judge import Comparison, Decision, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.visible_answers import VisibleAnswers

QUESTION = Question("q1", "What were sales?", gold_answer="$7 million")


class Blunt:
    """Prefers the first answer or rates by a list, whatever the answers say."""

    name, sha = "blunt", "b0"

    def __init__(self, scores: Sequence[float] = (), preference: float = 0.9) -> None:
        self.seen: list[list[str]] = []
        self._scores, self._preference = scores, preference

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        self.seen.append(list(answers))
        if self._scores:
            return [
                Verdict(question.id, index, None, "ok", None, score, "said", self.name, self.sha)
                for index, score in enumerate(self._scores)
            ]
        return [
            Verdict(question.id, 0, 1, "ok", self._preference, None, "said", self.name, self.sha, order=order)
            for order in ("ab", "ba")
        ]

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_scores(verdicts) if self._scores else decide_by_orders(verdicts, ("ab", "ba"))


def decided(judge: Blunt, answers: Sequence[str]) -> tuple[list[Verdict], list[Decision]]:
    wrapped = VisibleAnswers(judge)
    verdicts = asyncio.run(wrapped.verdicts(QUESTION, answers))
    return verdicts, wrapped.decide(QUESTION.id, len(answers), verdicts)


def test_a_judge_sees_the_visible_answer_alone() -> None:
    judge = Blunt()
    decided(judge, ["<think>7 or 8?</think>\n7", "8</think>nine", "because of [reason]", "<thinking>no end"])
    assert judge.seen == [["7", "nine", "because of [reason]", ""]]


@pytest.mark.parametrize(
    ("answers", "preference", "status"),
    [
        (["<think>so", "8"], 0.9, "tie"),
        (["<think>so", "8"], 0.1, "ok"),
        (["7", " "], 0.1, "tie"),
        (["7", "<think>"], 0.9, "ok"),
        (["<think>7", "<think>8"], 0.9, "tie"),
    ],
)
def test_an_empty_answer_is_never_preferred(answers: list[str], preference: float, status: str) -> None:
    verdicts, (decision,) = decided(Blunt(preference=preference), answers)
    assert decision.status == status
    assert all(("not preferred" in verdict.text) == (status == "tie") for verdict in verdicts)


@given(
    scores=st.lists(st.integers(1, 5).map(float), min_size=2, max_size=5),
    empty=st.sets(st.integers(0, 4)),
)
def test_no_rating_prefers_an_empty_answer_or_changes_the_others(scores: list[float], empty: set[int]) -> None:
    answers = ["<think>..." if index in empty else str(index) for index in range(len(scores))]
    verdicts, decisions = decided(Blunt(scores), answers)
    for decision in decisions:
        winner = None if decision.preference is None else (decision.second, decision.first)[decision.preference > 0.5]
        loser = decision.second if winner == decision.first else decision.first
        assert winner not in empty or loser in empty
    assert all(verdict.score == scores[verdict.first] for verdict in verdicts if verdict.first not in empty)


@settings(max_examples=30)
@given(
    thought=st.text(st.characters(exclude_characters="<>[]◁▷|")),
    tag=st.sampled_from(["think", "thinking", "reasoning", "THINK"]),
)
def test_equal_visible_answers_tie_without_being_asked(thought: str, tag: str) -> None:
    judge = build_judge(load_judge_file("finance-grounded"), NoModel())
    answers = [f"<{tag}>{thought}</{tag}>\n$7 million", "$7 million"]
    verdicts = asyncio.run(judge.verdicts(QUESTION, answers))
    assert [(verdict.status, verdict.text) for verdict in verdicts] == [("tie", "identical answers")]


class NoModel:
    """Serves models that must not be asked."""

    identity = ""

    def vllm(self, model: str) -> "NoModel":
        return self

    async def choices(self, requests: Sequence[object]) -> list[object]:
        raise AssertionError("nothing is to be asked")

    chats = choices


THINKING = "<think>$8 million? No.</think>$7 million"
UNCLOSED = "<think>$7 million, I think, or is it"


def test_the_exact_check_of_a_panel_sees_the_visible_answer_too() -> None:
    judge = build_judge(load_judge_file("finance-panel:skip_when_both_below=0.5"), NoModel())
    verdicts = asyncio.run(judge.verdicts(QUESTION, [THINKING, UNCLOSED, "$9 million"]))
    assert [(verdict.first, verdict.score) for verdict in verdicts] == [(0, 1.0), (1, 0.0), (2, 0.0)]


def test_a_judge_of_ones_own_code_sees_the_visible_answer_too(tmp_path: Path) -> None:
    code = (
        "def judge(question, candidates, gold_answer, context):\n    return [float(len(text)) for text in candidates]\n"
    )
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    (tmp_path / "j.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")

    async def judged() -> list[Verdict]:
        async with open_judge(load_judge_file(str(tmp_path / "j.yaml")), NoModel()) as judge:
            return await judge.verdicts(QUESTION, [THINKING, UNCLOSED])

    assert [verdict.score for verdict in asyncio.run(judged())] == [float(len("$7 million")), 0.0]


def test_label_judges_what_is_visible_and_keeps_the_whole_text(tmp_path: Path) -> None:
    row = {"id": "q1", "question": "Sales?", "gold_answer": "$7 million", "answers": [THINKING, UNCLOSED]}
    (tmp_path / "c.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    output = tmp_path / "pairs.parquet"
    result = CliRunner().invoke(
        app, ["label", str(tmp_path / "c.jsonl"), "--judge", "reference", "-o", str(output), "--json"]
    )
    assert result.exit_code == 0, result.output
    (pair,) = pq.read_table(output).to_pylist()
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == (THINKING, UNCLOSED)


def test_a_judge_report_judges_what_is_visible(tmp_path: Path) -> None:
    row = {"id": "1", "question": "Sales?", "gold_answer": "$7 million", "answer_a": THINKING, "answer_b": UNCLOSED}
    labels = tmp_path / "labels.jsonl"
    labels.write_text(json.dumps({**row, "human": "a"}) + "\n", encoding="utf-8")
    result = CliRunner().invoke(app, ["judge", "report", "reference", "--labels", str(labels), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["figures"]["accuracy"]["value"] == 1.0
