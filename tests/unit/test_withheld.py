"""Answers where the evidence was withheld: a refusal is right and nothing else; and what holds the evidence."""

import asyncio
from dataclasses import replace

import pytest

from rlaif.data.question import Question
from rlaif.documents.evidence import holds_answer, holds_evidence, tells_answer
from rlaif.grading.refusal import is_refusal, score_refusal
from rlaif.judges.build import build_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.rating import ReferenceJudge, ReferenceSpec

REFUSAL = "The documents do not say."
ASKED = "What was Ulta's revenue in fiscal 2022, in millions?"


@pytest.mark.parametrize(
    ("answer", "refuses"),
    [
        (REFUSAL, True),
        ("the documents do not say", True),
        ("Revenue in fiscal 2022 is not disclosed in the context.", True),
        ("<think>It may be 5.</think>The context does not mention it.", True),
        ("$10,208 million", False),
        ("The documents do not say, but it was about $10,208 million.", False),
        ("Unfortunately, 10.2 billion.", False),
        ("Revenue rose.", False),
        ("", False),
        ("<think>The documents do not say.", False),
    ],
)
def test_only_a_refusal_without_a_figure_of_its_own_is_one(answer: str, refuses: bool) -> None:
    assert is_refusal(answer, REFUSAL, ASKED) is refuses
    found = score_refusal(answer, REFUSAL, question=ASKED)
    assert (found.outcome, found.score, found.grade) == (("right", 1.0, 1.0) if refuses else ("wrong", 0.0, 0.0))


def test_a_phrase_of_another_language_is_a_refusal() -> None:
    assert is_refusal("Das steht nicht in den Dokumenten.", "Das steht nicht in den Dokumenten.", ASKED)
    assert not is_refusal("Das steht nicht in den Dokumenten.", REFUSAL, ASKED)


def test_the_reference_judge_prefers_a_refusal_where_the_evidence_was_withheld() -> None:
    spec = load_judge_file("reference")
    assert isinstance(spec, ReferenceSpec)
    judge = ReferenceJudge(spec)
    asked = Question("q", ASKED, "Sales were 5 in 2021.", REFUSAL, withheld=True)
    answers = [REFUSAL, "$10,208 million", "I cannot tell from what is given."]
    verdicts = asyncio.run(judge.verdicts(asked, answers))
    assert [(verdict.status, verdict.score) for verdict in verdicts] == [("ok", 1.0), ("ok", 0.0), ("ok", 1.0)]
    decided = {(each.first, each.second): each for each in judge.decide("q", 3, verdicts)}
    assert (decided[0, 1].status, decided[0, 1].preference) == ("ok", 1.0)
    assert decided[0, 2].status == "tie"


def test_the_overlap_judge_rates_a_refusal_and_not_its_words_where_the_evidence_was_withheld() -> None:
    judge = build_judge(load_judge_file("overlap"), None)  # type: ignore[arg-type]
    asked = Question("q", ASKED, "Sales were 5 in 2021.", REFUSAL, withheld=True)
    verdicts = asyncio.run(judge.verdicts(asked, ["Not disclosed.", "The documents say $10,208 million.", ""]))
    assert [verdict.score for verdict in verdicts] == [1.0, 0.0, 0.0]
    plain = asyncio.run(judge.verdicts(replace(asked, withheld=False), ["The documents say $10,208 million."]))
    assert plain[0].score
    assert plain[0].score > 0


EVIDENCE = "Net sales increased 18.3% to $10.2 billion compared to $8.6 billion in fiscal 2021."
CHUNK = """ULTABEAUTY_2023Q4_EARNINGS, page 1
For the Full Year of Fiscal 2022
Net sales increased 18.3% to $10.2 billion compared to $8.6 billion in fiscal 2021, primarily due to the favorable
impact from the continued resilience of the beauty category, retail price increases, and new brands."""
OTHER = """ULTABEAUTY_2023Q4_EARNINGS, page 2
Share Repurchase Program. During the fourth quarter of fiscal 2022, the Company repurchased 722,457 shares."""


def test_a_chunk_holds_evidence_that_is_a_part_of_it_or_that_it_is_a_part_of() -> None:
    assert holds_evidence(CHUNK, EVIDENCE)
    assert holds_evidence(EVIDENCE, f"{CHUNK}\n{OTHER}")
    assert not holds_evidence(OTHER, EVIDENCE)
    table = "2022: 10.2 | 2021: 8.6 | change: 18.3%"
    assert holds_evidence(table, EVIDENCE)
    assert not holds_evidence("", EVIDENCE)


def test_a_chunk_holds_the_figures_of_an_answer_that_the_question_lacks() -> None:
    asked = "How many shares were repurchased in Q4?"
    assert holds_answer(OTHER, ["722,457 shares"], asked)
    assert not holds_answer(CHUNK, ["722,457 shares"], asked)
    assert holds_answer(CHUNK, ["retail price increases and new brands"], "What drove the increase?")
    assert not holds_answer(CHUNK, ["opening of 47 new stores"], "What drove the increase?")


def test_an_answer_without_words_of_its_own_tells_no_evidence() -> None:
    assert tells_answer(["$5 million"], "How much?")
    assert not tells_answer(["Yes"], "Was it profitable?")
    assert not tells_answer([], "How much?")
