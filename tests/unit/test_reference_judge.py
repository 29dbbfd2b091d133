"""The reference judge: right, wrong or silent; what it decides and what it leaves to the next judge of a panel."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.label_conversion import convert_labels
from rlaif.data.question import Question
from rlaif.judge_evals.judging import judge_labels
from rlaif.judges.build import build_judge
from rlaif.judges.decisions import decide_by_checks
from rlaif.judges.judge import Decision, Judge, Verdict
from rlaif.judges.judge_file import load_judge_file
from rlaif.preferences.pairs import PairCounts, pair_rows
from rlaif.recipe import PairsSection

# Four words of content, of which an answer may have some.
GOLD = "Higher raw material costs and litigation over respirators"
RIGHT, PARTLY, SILENT, WRONG = (
    GOLD,
    "Material costs were higher.",
    "Sales were lower in several markets.",
    "The filing does not provide enough information.",
)
ASKED = Question("q", "What drove the change of the margin?", gold_answer=GOLD)
REFERENCE = build_judge(load_judge_file("reference"), None)  # type: ignore[arg-type]


def judged(
    answers: Sequence[str], question: Question = ASKED, judge: Judge = REFERENCE
) -> tuple[list[Verdict], list[Decision]]:
    verdicts = asyncio.run(judge.verdicts(question, answers))
    return verdicts, judge.decide(question.id, len(answers), verdicts)


def test_a_verdict_is_right_wrong_or_silent_and_says_why() -> None:
    verdicts, _ = judged([RIGHT, PARTLY, SILENT, WRONG, ""])
    assert [(verdict.status, verdict.text) for verdict in verdicts] == [
        ("ok", "the reference"),
        ("ok", "50% of the reference's words"),
        ("silent", "0% of the reference's words"),
        ("ok", "a refusal"),
        ("ok", "no answer"),
    ]
    right, partly, _, wrong, empty = (verdict.score for verdict in verdicts)
    assert right == 1.0
    assert partly is not None
    assert 0.5 <= partly < 0.85
    assert wrong == empty == 0.0


def test_only_a_right_answer_wins_over_one_that_the_judge_cannot_tell() -> None:
    _, decisions = judged([RIGHT, SILENT, WRONG, SILENT + " So it is."])
    assert [(d.first, d.second, d.status, d.preference) for d in decisions] == [
        (0, 1, "ok", 1.0), (0, 2, "ok", 1.0), (0, 3, "ok", 1.0),
    ]  # fmt: skip
    assert [d.margin for d in decisions] == pytest.approx([0.8, 1.0, 0.8])


@pytest.mark.parametrize(("difference", "status"), [(0.0, "tie"), (0.1, "tie"), (0.15, "ok"), (0.4, "ok")])
def test_a_few_common_words_are_no_preference(difference: float, status: str) -> None:
    ratings = [0.55 + difference, 0.55]
    verdicts = [Verdict("q", index, None, "ok", None, score, "", "r", "s") for index, score in enumerate(ratings)]
    (decision,) = decide_by_checks(verdicts, tie_below=0.15 - 1e-12, silent_rating=0.2)
    assert decision.status == status
    assert (decision.score_first, decision.score_second) == tuple(ratings)


outcomes = st.sampled_from(["silent", 0.0, 0.5, 0.6, 0.9, 1.0])


@given(st.lists(outcomes, min_size=2, max_size=5), st.randoms())
def test_a_silent_verdict_is_never_a_preference_by_itself(given: list[str | float], random: object) -> None:
    verdicts = [
        Verdict("q", index, None, "silent", None, None, "", "r", "s")
        if isinstance(outcome, str)
        else Verdict("q", index, None, "ok", None, outcome, "", "r", "s")
        for index, outcome in enumerate(given)
    ]
    decisions = decide_by_checks(verdicts, tie_below=0.15, silent_rating=0.2)
    assert decisions == decide_by_checks(verdicts[::-1], tie_below=0.15, silent_rating=0.2)
    for decision in decisions:
        pair = (given[decision.first], given[decision.second])
        if "silent" not in pair:
            continue
        right = next(outcome for outcome in pair if outcome != "silent")
        assert decision.status == "ok"
        assert float(right) >= 0.5
        assert decision.preference == float(pair[0] == right)


def test_comparisons_that_it_cannot_tell_are_counted_and_make_no_pair() -> None:
    answers = [RIGHT, SILENT, "Prices rose.", WRONG]
    verdicts, _ = judged(answers)
    counts = PairCounts()
    rows = pair_rows(
        ASKED, dict(enumerate(answers)), verdicts, [],
        judge=REFERENCE, section=PairsSection(), source_columns=lambda chosen, rejected: {}, counts=counts,
    )  # fmt: skip
    assert dict(counts.by_status) == {"ok": 3, "silent": 3}
    assert {row["chosen_candidate"] for row in rows} == {0}


def test_it_reads_what_the_question_asks_for() -> None:
    asked = Question("q", "What was capital spending (in USD millions)?", gold_answer="$1577.00")
    verdicts, _ = judged(["$1.577 billion", "$1,577 thousand"], asked)
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0]


def test_of_several_gold_answers_each_is_right() -> None:
    asked = Question("q", "Who audits the company?", gold_answer=("Alder & Finch LLP", "A&F"))
    verdicts, _ = judged(["A&F", "Alder & Finch", "Other & Co"], asked)
    assert [(verdict.status, verdict.score) for verdict in verdicts] == [("ok", 1.0), ("ok", 1.0), ("silent", None)]


def test_it_agrees_with_people_on_financebench(shared_data: Path) -> None:
    """Of the pairs of answers that people marked it decides 85%, and agrees with people in 90% of these."""
    folder = shared_data / "financebench"
    labels = convert_labels(
        str(folder / "human_labels.jsonl"), questions=str(folder / "questions.jsonl"), max_pairs_per_question=8
    ).labels
    found = asyncio.run(judge_labels(REFERENCE, labels))
    decided = [item for item in found if item.outcome == "ok"]
    assert len(decided) >= 0.85 * len(found)
    assert sum(item.right for item in decided) >= 0.9 * len(decided)
