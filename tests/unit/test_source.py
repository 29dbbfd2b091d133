"""The questions of a round: the recipe alone decides them, and no question is repeated before all others."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.recipe import RoundsSection
from rlaif.rounds.source import round_questions, round_size


def prompts(count: int) -> list[Question]:
    return [Question(f"q{number}", "?") for number in range(count)]


def ids(count: int, section: RoundsSection, number: int, seed: int = 0) -> list[str]:
    return [prompt.id for prompt in round_questions(prompts(count), section, number, seed)]


@pytest.mark.parametrize(
    ("questions", "number", "available", "size"),
    [
        (64, 0, 400, 64),
        (64, 0, 10, 10),
        (1.0, 0, 7, 7),
        (0.2, 3, 10, 2),
        (0.01, 0, 10, 1),
        # 1 is a count and 1.0 is all.
        (1, 0, 10, 1),
        ([5, 0.5], 0, 10, 5),
        ([3, 0.5], 1, 10, 5),
    ],
)
def test_a_round_takes_a_count_or_a_share(
    questions: int | float | list[int | float], number: int, available: int, size: int
) -> None:
    section = RoundsSection(count=2, questions=questions)
    assert round_size(section, number, available) == size
    assert len(ids(available, section, number)) == size


def test_the_seed_decides_the_order() -> None:
    section = RoundsSection(questions=20)
    assert ids(20, section, 0) == ids(20, section, 0)
    assert ids(20, section, 0) != ids(20, section, 0, seed=1)
    assert ids(20, section, 0) != [prompt.id for prompt in prompts(20)]
    # After its last question the set starts again in another order.
    assert ids(20, section, 1) != ids(20, section, 0)
    assert sorted(ids(20, section, 1)) == sorted(ids(20, section, 0))


def test_a_round_is_the_same_however_many_rounds_there_are() -> None:
    """A finished run continues with a larger count, and its earlier rounds do not change."""
    assert ids(50, RoundsSection(count=2, questions=8), 1) == ids(50, RoundsSection(count=9, questions=8), 1)


amounts = st.one_of(st.integers(1, 25), st.sampled_from([0.1, 0.25, 0.4, 0.75, 1.0]))


@given(available=st.integers(1, 20), questions=st.lists(amounts, min_size=1, max_size=8), seed=st.integers(0, 5))
def test_every_question_comes_as_often_as_every_other(available: int, questions: list[int | float], seed: int) -> None:
    section = RoundsSection(count=len(questions), questions=questions)
    seen: Counter[str] = Counter({prompt.id: 0 for prompt in prompts(available)})
    for number in range(len(questions)):
        taken = ids(available, section, number, seed)
        assert len(taken) == round_size(section, number, available) == len(set(taken))
        seen.update(taken)
        assert max(seen.values()) - min(seen.values()) <= 1
