"""The questions of a round: the recipe alone decides them, and no question is repeated before all others."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.increments import round_items, round_size
from rlaif.data.question import Question
from rlaif.data.round_shares import round_share
from rlaif.recipe import Amount, amounts_of


def prompts(count: int) -> list[Question]:
    return [Question(f"q{number}", "?") for number in range(count)]


def ids(count: int, amounts: list[Amount], seed: int = 0) -> list[str]:
    return [prompt.id for prompt in round_items(prompts(count), amounts, seed)]


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
    questions: Amount | list[Amount], number: int, available: int, size: int
) -> None:
    amounts = amounts_of(questions, number + 1)
    assert round_size(amounts[-1], available) == size
    assert len(ids(available, amounts)) == size


def test_the_seed_decides_the_order() -> None:
    assert ids(20, [20]) == ids(20, [20])
    assert ids(20, [20]) != ids(20, [20], seed=1)
    assert ids(20, [20]) != [prompt.id for prompt in prompts(20)]
    # After its last question the set starts again in another order.
    assert ids(20, [20, 20]) != ids(20, [20])
    assert sorted(ids(20, [20, 20])) == sorted(ids(20, [20]))


amounts = st.one_of(st.integers(1, 25), st.sampled_from([0.1, 0.25, 0.4, 0.75, 1.0]))


@given(available=st.integers(1, 20), questions=st.lists(amounts, min_size=1, max_size=8), seed=st.integers(0, 5))
def test_every_question_comes_as_often_as_every_other(available: int, questions: list[int | float], seed: int) -> None:
    seen: Counter[str] = Counter({prompt.id: 0 for prompt in prompts(available)})
    for number in range(len(questions)):
        taken = ids(available, questions[: number + 1], seed)
        assert len(taken) == round_size(questions[number], available) == len(set(taken))
        seen.update(taken)
        assert max(seen.values()) - min(seen.values()) <= 1


@given(available=st.integers(1, 12), sizes=st.lists(st.integers(1, 12), min_size=1, max_size=9))
def test_a_round_finds_its_items_without_those_of_earlier_shuffles(available: int, sizes: list[int]) -> None:
    sizes = [min(size, available) for size in sizes]
    left, shuffles, taken = list[Question](), 0, list[Question]()
    for size in sizes:
        taken, passed = [], []
        while len(taken) < size:
            if not left:
                left = prompts(available)
                random.Random(f"seed-{shuffles}").shuffle(left)
                shuffles += 1
            question = left.pop(0)
            (passed if question in taken else taken).append(question)
        left = passed + left
    assert round_share(prompts(available), sizes, "seed") == taken


def test_the_last_of_many_rounds_shuffles_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = []
    shuffle = random.Random.shuffle
    monkeypatch.setattr(random.Random, "shuffle", lambda self, order: (shuffled.append(1), shuffle(self, order)))
    ids(50, [1.0] * 1000)
    assert len(shuffled) == 1
