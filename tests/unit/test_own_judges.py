"""Judges of the user's own: what their answers mean, whichever kind gives them."""

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.own_answer import read_answer
from tests.own_judges import asked, failed, python_judge


@pytest.mark.parametrize(
    ("returned", "scores"),
    [
        ("[len(c) for c in candidates]", {0: 2.0, 1: 3.0}),
        ("(0.25, None)", {0: 0.25}),
        ("[c == gold_answer for c in candidates]", {0: 1.0, 1: 0.0}),
        ("{'scores': [1, 2]}", {0: 1.0, 1: 2.0}),
        ("__import__('numpy').array([0.5, 1.5], dtype='float32')", {0: 0.5, 1: 1.5}),
        ("[__import__('fractions').Fraction(1, 2), __import__('numpy').int64(3)]", {0: 0.5, 1: 3.0}),
        ("[None, None]", {}),
    ],
)
def test_a_function_returns_scores(returned: str, scores: dict[int, float], tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, f"return {returned}"), ("$7", "$8m"))
    assert {verdict.first: verdict.score for verdict in verdicts} == scores
    assert {verdict.status for verdict in verdicts} <= {"ok"}
    # A candidate without a score is not decided on: that is left to another judge.
    assert len(decisions) == (len(scores) == 2)


@pytest.mark.parametrize(
    "returned",
    [
        "[[None, 0.9, 0.8], [0.1, None, 0.5], [0.2, 0.5, float('nan')]]",
        "{(0, 1): 0.9, (1, 0): 0.1, (0, 2): 0.8, (2, 0): 0.2, (1, 2): 0.5, (2, 1): 0.5}",
        "{0: {1: 0.9, 2: 0.8}, 1: {0: 0.1, 2: 0.5}, 2: {0: 0.2, 1: 0.5}}",
        "__import__('numpy').array([[0.5, 0.9, 0.8], [0.1, 0.5, 0.5], [0.2, 0.5, 0.5]])",
    ],
)
def test_a_function_returns_preferences(returned: str, tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, f"return {returned}"), ("a", "b", "c"))
    assert {(v.first, v.second, v.order, v.preference) for v in verdicts} == {
        (0, 1, "ab", 0.9), (0, 1, "ba", 0.9), (0, 2, "ab", 0.8), (0, 2, "ba", 0.8),
        (1, 2, "ab", None), (1, 2, "ba", None),
    }  # fmt: skip
    assert [(d.first, d.second, d.status, d.preference) for d in decisions] == [
        (0, 1, "ok", 0.9), (0, 2, "ok", 0.8), (1, 2, "tie", None),
    ]  # fmt: skip


def test_preferences_that_contradict_each_other_tie_and_missing_ones_decide_nothing(tmp_path: Path) -> None:
    _, decisions = asked(python_judge(tmp_path, "return {(0, 1): 0.9, (1, 0): 0.9, (2, 0): 0.9}"), ("a", "b", "c"))
    assert [(d.first, d.second, d.status, d.preference) for d in decisions] == [
        (0, 1, "tie", None), (0, 2, "ok", pytest.approx(0.1)),
    ]  # fmt: skip


def test_thinking_is_not_shown(tmp_path: Path) -> None:
    verdicts, _ = asked(python_judge(tmp_path, "return [len(c) for c in candidates]"), ("<think>long</think>$7", "$8m"))
    assert [verdict.score for verdict in verdicts] == [2.0, 3.0]


def test_equal_texts_have_one_score_and_no_preference(tmp_path: Path) -> None:
    verdicts, decisions = asked(python_judge(tmp_path, "return [0.1, 0.7]"), ("$7", " $7"))
    assert ([verdict.score for verdict in verdicts], decisions[0].status) == ([0.1, 0.1], "tie")
    _, decisions = asked(python_judge(tmp_path, "return {(0, 1): 0.9}"), ("$7", " $7"))
    assert decisions[0].status == "tie"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("012ab"), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["scores", "preferences"]), _JSON, max_size=2) | _JSON, st.integers(1, 3))
def test_any_answer_is_read_as_numbers_or_refused(answer: Any, count: int) -> None:
    try:
        read = read_answer(answer, count)
    except ValueError:
        return
    assert all(0 <= index < count for index in read.scores)
    assert all(abs(score) < float("inf") for score in read.scores.values())
    assert all(0 <= value <= 1 and i != j for (i, j), value in read.preferences.items())


def test_answers_are_kept_and_failures_are_not(tmp_path: Path) -> None:
    marks = tmp_path / "calls"
    body = (
        f"open({str(marks)!r}, 'a').write('x')\n"
        "if len(open(" + repr(str(marks)) + ").read()) == 1:\n    raise ValueError('first')\n"
        "return [1, 2]"
    )
    path, cache = python_judge(tmp_path, body), ResponseCache(tmp_path / "cache.sqlite", free=False)
    assert "first" in failed(asked(path, cache=cache))
    first, _ = asked(path, cache=cache)
    again, _ = asked(path, cache=cache)
    assert [verdict.score for verdict in first] == [1.0, 2.0]
    assert first == again
    assert first[0].seconds > 0
    assert marks.read_text(encoding="utf-8") == "xx"
    asked(python_judge(tmp_path, body, "version: later"), cache=cache)
    assert marks.read_text(encoding="utf-8") == "xxx"
    cache.close()


def test_the_examples_work(tmp_path: Path) -> None:
    examples = Path(__file__).parents[2] / "examples" / "judges"
    _, (decision,) = asked(examples / "figures.yaml", ("Sales were $7.", "Sales were $8."))
    assert (decision.status, decision.preference) == ("ok", 1.0)
    assert asked(examples / "figures.yaml", ("High.", "Low.")) == ([], [])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(examples / "server.py"), str(port)], stderr=subprocess.DEVNULL)
    try:
        mine = (examples / "server.yaml").read_text(encoding="utf-8").replace("8765", str(port))
        (tmp_path / "mine.yaml").write_text(mine.replace("retries: 2", "retries: 9"), encoding="utf-8")
        _, (decision,) = asked(tmp_path / "mine.yaml")
    finally:
        server.kill()
        server.wait()
    assert (decision.status, decision.preference) == ("ok", pytest.approx(2 / 3))
