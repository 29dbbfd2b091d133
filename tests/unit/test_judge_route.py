"""Which comparisons people are asked about first, and what their labels add."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.data.labels import Label, Side
from rlaif.judge_evals.judging import JudgedLabel
from rlaif.judge_evals.routing import route
from rlaif.judges.judge import Decision, Verdict
from rlaif.judges.uncertainty import JudgedPair, ask_first


def rating(first: int, score: float, sha: str = "j") -> Verdict:
    return Verdict("q", first, None, "ok", None, score, "", sha, sha)


def decided(preference: float | None, margin: float | None = None, sha: str = "j") -> Decision:
    status = "tie" if preference is None else "ok"
    return Decision("q", 0, 1, status, preference, margin, None, None, sha, sha)


def pair(decision: Decision | None, *verdicts: Verdict, answers: tuple[str, str] = ("one", "two")) -> JudgedPair:
    return JudgedPair(answers, verdicts, decision)


def test_what_is_undecided_comes_first_then_what_is_split_then_small_margins() -> None:
    panel = (rating(0, 1.0, "x"), rating(1, 0.0, "x"), rating(0, 0.0, "y"), rating(1, 1.0, "y"))
    sure, unsure = pair(decided(1.0, 0.9)), pair(decided(1.0, 0.2))
    pairs = [sure, unsure, pair(decided(0.0, 0.9), *panel), pair(decided(None)), pair(None)]
    found = [(asked.index, asked.reason) for asked in ask_first(pairs)]
    assert found == [(3, "undecided"), (4, "undecided"), (2, "split"), (1, "margin"), (0, "margin")]
    assert [asked.index for asked in ask_first(pairs, 2)] == [3, 4]
    assert ask_first([]) == []


def test_a_rating_of_zero_counts_in_a_disagreement() -> None:
    both = (rating(0, 0.0, "x"), rating(1, 1.0, "x"), rating(0, 1.0, "y"), rating(1, 0.0, "y"))
    (asked,) = ask_first([pair(decided(1.0, 0.5), *both)])
    assert asked.reason == "split"


def test_margins_of_two_judges_are_compared_by_rank() -> None:
    pairs = [pair(decided(1.0, margin, sha)) for margin, sha in ((0.1, "x"), (0.2, "x"), (10.0, "y"), (20.0, "y"))]
    assert [asked.index for asked in ask_first(pairs)] == [0, 2, 1, 3]


def test_among_equals_the_next_one_is_least_like_those_before() -> None:
    same, other = ("sales rose", "sales fell"), ("no dividend", "a dividend of $2")
    pairs = [pair(None, answers=answers) for answers in (same, same, other)]
    assert [asked.index for asked in ask_first(pairs)] == [0, 2, 1]
    # Those asked for another reason are before them too, however many.
    equals = [pair(decided(1.0, 0.5), answers=answers) for answers in (same, other)]
    assert [asked.index for asked in ask_first([*equals, *[pair(None, answers=same)] * 1500])][-2:] == [1, 0]


def test_answers_like_those_judged_before_come_later() -> None:
    same, other, third = ("sales rose", "sales fell"), ("no dividend", "a dividend of $2"), ("rain", "sun")
    pairs = [pair(None, answers=answers) for answers in (same, other, third)]
    assert [asked.index for asked in ask_first(pairs, before=[same])] == [1, 2, 0]
    assert [asked.index for asked in ask_first(pairs, 1, before=[same, other])] == [2]
    # A better reason comes first, however well its answers are known.
    assert [asked.index for asked in ask_first([pair(decided(1.0, 0.1), answers=third), pairs[0]], before=[same])] == [
        1,
        0,
    ]


def label(number: int, human: Side) -> Label:
    return Label(id=str(number), question=f"q{number}", answer_a="one", answer_b="two", human=human)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "tie"]), st.sampled_from([None, 0.1, 0.9])), min_size=1))
def test_people_are_right_where_they_are_asked_and_more_labels_never_agree_less(drawn: list[Any]) -> None:
    judged = [
        JudgedLabel(label(number, human), (), decided(value, value and abs(2 * value - 1)))
        for number, (human, value) in enumerate(drawn)
    ]
    found = route(judged, (0.0, 0.3, 0.6, 1.0))
    if not found.preferred:
        assert {point.by_worth.value for point in found.points} == {None}
        return
    right = sum(item.right for item in judged) / found.preferred
    values = [point.by_worth.value for point in found.points]
    assert (values[0], values[-1]) == (pytest.approx(right), 1.0)
    assert found.points[0].at_random.value == pytest.approx(right)
    assert values == sorted(values)  # type: ignore[type-var]
    other = [JudgedLabel(label(number, "a"), (), item.decision) for number, item in enumerate(judged)]
    assert [point.asked for point in route(other, (0.3, 0.6)).points] == [point.asked for point in found.points[1:3]]


def test_a_fifth_of_financebenchs_labels_by_people(shared_data: Path, tmp_path: Path) -> None:
    folder, labels = shared_data / "financebench", str(tmp_path / "labels.jsonl")
    source = [str(folder / "human_labels.jsonl"), "--questions", str(folder / "questions.jsonl")]
    runner = CliRunner()
    made = runner.invoke(app, ["judge", "labels", *source, "--max-pairs-per-question", "3", "-o", labels])
    assert made.exit_code == 0, made.output
    shares = ["--share", "0.2", "--share", "0"]
    found = runner.invoke(app, ["judge", "route", "reference", "--labels", labels, *shares, "--json"])
    assert found.exit_code == 0, found.output
    start, fifth = json.loads(found.stdout)["points"]
    assert (start["share"], fifth["share"]) == (0.0, 0.2)
    assert fifth["by_worth"]["value"] >= 0.93
    assert fifth["by_worth"]["value"] > fifth["at_random"]["value"] > start["by_worth"]["value"]
    shown = runner.invoke(app, ["judge", "route", "reference", "--labels", labels, "--limit", "20"])
    assert all(word in shown.stdout for word in ("by worth", "at random", "undecided", "split", "margin"))
