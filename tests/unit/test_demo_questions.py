"""The demo's questions are reproducible, follow from their contexts, and share no company between the splits."""

import re
from collections import Counter

import pytest

from rlaif.data.demo.filings import ENDINGS, SYLLABLES, Split
from rlaif.data.demo.questions import demo_questions
from rlaif.data.question import Question
from rlaif.data.sources import questions_sha
from rlaif.documents.passage import supporting_passage
from rlaif.grading.score import contains_gold_answer, numeric_gold_answer, score_answer


@pytest.fixture(scope="module")
def train() -> list[Question]:
    return demo_questions("train", 1500, seed=0)


@pytest.fixture(scope="module")
def heldout() -> list[Question]:
    return demo_questions("heldout", 1500, seed=0)


def kind(question: Question) -> str:
    if question.question.startswith("By what percentage"):
        return "percentage"
    if re.search(r"from fiscal \d+ to fiscal", question.question):
        return "difference"
    return "table" if "|" in question.context else "prose"


def company(question: Question) -> str:
    return re.split(", fiscal years|, annual report", question.context)[0]


def stems(split: Split) -> set[str]:
    """Return the first word of every possible company name in a split."""
    return {syllable + ending for syllable in SYLLABLES[split] for ending in ENDINGS}


def figures(question: Question) -> dict[str, float]:
    """Return the amounts in the table row of the evidence, by year, in the scale of the table."""
    head, years, *rows = question.context.split("\n")
    assert question.evidence in rows
    cells = question.evidence.split(" | ")[1:]
    values = [float(re.sub(r"[^\d.]", "", cell)) * (-1 if "(" in cell else 1) for cell in cells]
    assert ("(in " in head) != bool(re.search("million|thousand", rows[0]))  # The table gives the scale only once.
    return dict(zip(years.split(" | ")[1:], values, strict=True))


def test_a_seed_makes_the_same_questions_everywhere(train: list[Question]) -> None:
    assert demo_questions("train", 40, seed=0) == train[:40]
    assert demo_questions("train", 40, seed=1) != train[:40]
    assert questions_sha(train[:100]) == "55f8effe5ecda2237b5da0b973e629c296ee066c389b62b7b7543403e43db0ae"


def test_ids_questions_and_links_are_unique(train: list[Question], heldout: list[Question]) -> None:
    for questions in (train, heldout):
        for part in ("id", "question", "doc_link"):
            assert len({getattr(question, part) for question in questions}) == len(questions)


def test_the_splits_share_no_company(train: list[Question], heldout: list[Question]) -> None:
    assert not stems("train") & stems("heldout")
    assert not {company(question) for question in train} & {company(question) for question in heldout}
    assert not {question.doc_link for question in train} & {question.doc_link for question in heldout}
    assert {company(question).split()[0] for question in heldout} <= stems("heldout")


def test_the_mix_of_kinds(train: list[Question], heldout: list[Question]) -> None:
    for questions in (train, heldout):
        shares = {name: count / len(questions) for name, count in Counter(map(kind, questions)).items()}
        assert shares == pytest.approx({"table": 0.5, "prose": 0.4, "difference": 0.06, "percentage": 0.04}, abs=0.04)
        texts = sum(numeric_gold_answer(question.gold_answer or "") is None for question in questions) / len(questions)
        assert 0.08 < texts < 0.20


def test_table_answers_follow_from_the_table(train: list[Question], heldout: list[Question]) -> None:
    for question in train + heldout:
        if kind(question) == "prose":
            continue
        values = figures(question)
        scale = "million" if "million" in question.context else "thousand"
        places = 1 if scale == "million" else 0
        assert question.gold_answer is not None
        if kind(question) == "table":
            (year,) = re.findall(r"fiscal (\d{4})", question.question)
            value = values[year]
            assert question.gold_answer == f"{'-' if value < 0 else ''}${abs(value):,.{places}f} {scale}"
            continue
        before, now = re.findall(r"fiscal (\d{4})", question.question)
        change = values[now] - values[before]
        assert ("increase" in question.question) == (change > 0)
        if kind(question) == "difference":
            assert question.gold_answer == f"${abs(change):,.{places}f} {scale}"
        else:
            assert float(question.gold_answer[:-1]) == pytest.approx(100 * abs(change) / values[before], abs=0.0501)


def test_prose_answers_occur_in_their_sentence(train: list[Question], heldout: list[Question]) -> None:
    for question in train + heldout:
        if kind(question) == "prose":
            assert question.evidence is not None
            assert question.gold_answer is not None
            assert question.evidence in question.context
            assert contains_gold_answer(question.evidence, question.gold_answer)


def test_gold_answers_score_1(train: list[Question]) -> None:
    for question in train:
        assert question.gold_answer is not None
        assert score_answer(question.gold_answer, question.gold_answer).score == 1.0
        assert score_answer("I do not know.", question.gold_answer).score == 0.0


def test_the_supporting_passage_is_the_evidence(train: list[Question]) -> None:
    lookups = [question for question in train if kind(question) in ("table", "prose")]
    found = sum(
        supporting_passage(question.context, question.question, question.gold_answer or "") == question.evidence
        for question in lookups
    )
    assert found > 0.95 * len(lookups)


def test_contexts_are_short_and_questions_name_their_company(train: list[Question]) -> None:
    for question in train:
        assert 15 <= len(question.context.split()) <= 80
        assert company(question) in question.question
