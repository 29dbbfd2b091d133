"""The judge that rates by the words shared with the gold answer."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.grading.text import token_f, token_f1
from rlaif.judges.build import build_judge
from rlaif.judges.judge import Decision
from rlaif.judges.judge_file import load_judge_file

TOKENS = st.lists(st.sampled_from("abcd"), max_size=6)


def decided(
    gold: str | list[str] | None, *answers: str, judge: str = "overlap"
) -> tuple[list[float | None], list[Decision]]:
    built = build_judge(load_judge_file(judge), None)  # type: ignore[arg-type]
    verdicts = asyncio.run(built.verdicts(Question("q", "What?", gold_answer=gold), answers))
    return [verdict.score for verdict in verdicts], built.decide("q", len(answers), verdicts)


@given(given=TOKENS, gold=TOKENS)
def test_one_is_token_f1_and_more_favours_recall(given: list[str], gold: list[str]) -> None:
    assert token_f(given, gold, 1.0) == token_f1(given, gold)
    assert 0.0 <= token_f(given, gold, 2.0) <= 1.0
    if given and gold and len(given) < len(gold):
        assert token_f(given, gold, 2.0) <= token_f(given, gold, 1.0)


def test_an_answer_that_leaves_words_out_loses_more_than_a_longer_one() -> None:
    gold = "the divestiture of the software business"
    ratings, found = decided(gold, "divestiture", "the divestiture of the software business in May", "no idea", "")
    assert ratings == [pytest.approx(5 / 17), pytest.approx(20 / 22), 0.0, 0.0]
    assert [(each.first, each.second, each.status, each.preference) for each in found] == [
        (0, 1, "ok", 0.0), (0, 2, "ok", 1.0), (0, 3, "ok", 1.0),
        (1, 2, "ok", 1.0), (1, 3, "ok", 1.0), (2, 3, "tie", None),
    ]  # fmt: skip


def test_of_several_gold_answers_the_nearest_counts() -> None:
    assert decided(["$5 million", "5,000 thousand"], "5,000 thousand")[0] == [1.0]


@pytest.mark.parametrize("gold", [None, "", " ", [], ["the"]])
def test_a_question_without_a_gold_answer_has_no_verdict(gold: str | list[str] | None) -> None:
    assert decided(gold, "5", "6") == ([], [])


def test_thinking_is_not_read() -> None:
    assert decided("5 million", "<think>5 million?</think>6 million")[0] == [0.5]


def test_its_beta_is_part_of_the_judge(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: overlap\n")
    assert load_judge_file(str(path)).sha != load_judge_file("overlap").sha
    assert decided("w x y z", "w x", judge=str(path))[0] == [pytest.approx(2 / 3)]
