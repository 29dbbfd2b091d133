"""The demo's questions: the same everywhere, right by their own context, and apart between the splits."""

import re
from collections import Counter

import pytest

from rlaif.data.demo.names import stems
from rlaif.data.demo.questions import demo_questions
from rlaif.data.question import Question
from rlaif.data.sources import questions_sha
from rlaif.documents.passage import supporting_passage
from rlaif.grading.match import contains_reference, numeric_reference, score_answer


@pytest.fixture(scope="module")
def train() -> list[Question]:
    return demo_questions("train", 1500, seed=0)


@pytest.fixture(scope="module")
def heldout() -> list[Question]:
    return demo_questions("heldout", 1500, seed=0)


def kind(prompt: Question) -> str:
    if prompt.question.startswith("By what percentage"):
        return "percentage"
    if re.search(r"from fiscal \d+ to fiscal", prompt.question):
        return "difference"
    return "table" if "|" in prompt.context else "prose"


def company(prompt: Question) -> str:
    return re.split(", fiscal years|, annual report", prompt.context)[0]


def figures(prompt: Question) -> dict[str, float]:
    """Return the amounts of the table row that is the evidence, by year, in the unit of the table."""
    head, years, *rows = prompt.context.split("\n")
    assert prompt.evidence in rows
    cells = prompt.evidence.split(" | ")[1:]
    values = [float(re.sub(r"[^\d.]", "", cell)) * (-1 if "(" in cell else 1) for cell in cells]
    assert ("(in " in head) != bool(re.search("million|thousand", rows[0]))  # The scale is said once.
    return dict(zip(years.split(" | ")[1:], values, strict=True))


def test_a_seed_writes_the_same_questions_everywhere(train: list[Question]) -> None:
    assert demo_questions("train", 40, seed=0) == train[:40]
    assert demo_questions("train", 40, seed=1) != train[:40]
    assert questions_sha(train[:100]) == "55f8effe5ecda2237b5da0b973e629c296ee066c389b62b7b7543403e43db0ae"


def test_nothing_stands_twice(train: list[Question], heldout: list[Question]) -> None:
    for prompts in (train, heldout):
        for part in ("id", "question", "doc_link"):
            assert len({getattr(prompt, part) for prompt in prompts}) == len(prompts)


def test_the_splits_share_no_company(train: list[Question], heldout: list[Question]) -> None:
    assert not set(stems("train")) & set(stems("heldout"))
    assert not {company(prompt) for prompt in train} & {company(prompt) for prompt in heldout}
    assert not {prompt.doc_link for prompt in train} & {prompt.doc_link for prompt in heldout}
    assert {company(prompt).split()[0] for prompt in heldout} <= set(stems("heldout"))


def test_the_mix_of_kinds(train: list[Question], heldout: list[Question]) -> None:
    for prompts in (train, heldout):
        shares = {name: count / len(prompts) for name, count in Counter(map(kind, prompts)).items()}
        assert shares == pytest.approx({"table": 0.5, "prose": 0.4, "difference": 0.06, "percentage": 0.04}, abs=0.04)
        texts = sum(numeric_reference(prompt.gold_answer or "") is None for prompt in prompts) / len(prompts)
        assert 0.08 < texts < 0.20


def test_table_answers_follow_from_the_table(train: list[Question], heldout: list[Question]) -> None:
    for prompt in train + heldout:
        if kind(prompt) == "prose":
            continue
        values = figures(prompt)
        scale = "million" if "million" in prompt.context else "thousand"
        places = 1 if scale == "million" else 0
        assert prompt.gold_answer is not None
        if kind(prompt) == "table":
            (year,) = re.findall(r"fiscal (\d{4})", prompt.question)
            value = values[year]
            assert prompt.gold_answer == f"{'-' if value < 0 else ''}${abs(value):,.{places}f} {scale}"
            continue
        before, now = re.findall(r"fiscal (\d{4})", prompt.question)
        change = values[now] - values[before]
        assert ("increase" in prompt.question) == (change > 0)
        if kind(prompt) == "difference":
            assert prompt.gold_answer == f"${abs(change):,.{places}f} {scale}"
        else:
            assert float(prompt.gold_answer[:-1]) == pytest.approx(100 * abs(change) / values[before], abs=0.0501)


def test_prose_answers_stand_in_their_sentence(train: list[Question], heldout: list[Question]) -> None:
    for prompt in train + heldout:
        if kind(prompt) == "prose":
            assert prompt.evidence is not None
            assert prompt.gold_answer is not None
            assert prompt.evidence in prompt.context
            assert contains_reference(prompt.evidence, prompt.gold_answer)


def test_references_are_scored_as_right(train: list[Question]) -> None:
    for prompt in train:
        assert prompt.gold_answer is not None
        assert score_answer(prompt.gold_answer, prompt.gold_answer).score == 1.0
        assert score_answer("I do not know.", prompt.gold_answer).score == 0.0


def test_the_supporting_passage_is_the_evidence(train: list[Question]) -> None:
    lookups = [prompt for prompt in train if kind(prompt) in ("table", "prose")]
    found = sum(
        supporting_passage(prompt.context, prompt.question, prompt.gold_answer or "") == prompt.evidence
        for prompt in lookups
    )
    assert found > 0.95 * len(lookups)


def test_contexts_are_short_and_questions_name_their_company(train: list[Question]) -> None:
    for prompt in train:
        assert 15 <= len(prompt.context.split()) <= 80
        assert company(prompt) in prompt.question
