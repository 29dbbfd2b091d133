"""Sequences grouped by their common beginnings: nothing is lost, nothing learned is shared, and tokens are saved."""

from hypothesis import given
from hypothesis import strategies as st

from rlaif.training.common_beginnings import group_by_beginning
from rlaif.training.groups import Group, plan_steps
from rlaif.training.sft.encode import LearnedSequence


def sequence(name: str, prompt: str, answer: str) -> LearnedSequence:
    ids = tuple(map(ord, prompt + answer))
    return LearnedSequence(name, ids, ((len(prompt), len(ids)),))


def texts(group: Group) -> tuple[str, list[str]]:
    return "".join(map(chr, group.prompt_token_ids)), ["".join(map(chr, ids)) for ids in group.candidates]


def test_questions_on_one_document_share_it() -> None:
    document = "a long report. "
    sequences = [
        sequence("1", f"{document}Sales? ", "5"), sequence("2", "other. Sales? ", "4"),
        sequence("3", f"{document}Costs? ", "3"),
    ]  # fmt: skip
    one, two = group_by_beginning(sequences, most=8, max_tokens=100)
    assert texts(one) == (document, ["Costs? 3", "Sales? 5"])
    assert (one.ids, one.learned) == (("3", "1"), (((7, 8),), ((7, 8),)))
    assert texts(two) == ("other. Sales? ", ["4"])
    assert [ids for group in group_by_beginning(sequences, most=1, max_tokens=100) for ids in group.ids] == list("312")
    assert len(group_by_beginning(sequences, most=8, max_tokens=20)) == 3


def test_a_long_beginning_is_not_given_up_for_a_short_one() -> None:
    sequences = [sequence(str(n), f"abcdefgh {n}? ", "x") for n in range(3)] + [sequence("z", "abd", "y")]
    assert [len(group.candidates) for group in group_by_beginning(sequences, most=8, max_tokens=99)] == [3, 1]


words = st.text("ab", min_size=1, max_size=6)


@given(st.lists(st.tuples(words, words), max_size=12), st.integers(1, 5), st.integers(8, 40))
def test_each_sequence_is_whole_in_one_group(drawn: list[tuple[str, str]], most: int, max_tokens: int) -> None:
    sequences = [sequence(str(number), *texts) for number, texts in enumerate(drawn)]
    groups = group_by_beginning(sequences, most=most, max_tokens=max_tokens)
    found = {}
    for group in groups:
        assert len(group.candidates) <= most
        assert len(group.candidates) == 1 or len(group.prompt_token_ids) + sum(map(len, group.candidates)) <= max_tokens
        for number, ids in enumerate(group.candidates):
            begin = len(group.prompt_token_ids)
            spans = tuple((start + begin, end + begin) for start, end in group.learned[number])
            found[group.ids[number]] = LearnedSequence(group.ids[number], group.prompt_token_ids + ids, spans)
    assert [found[each.id] for each in sequences] == sequences
    assert sum(group.tokens for group in groups) <= sum(len(each.token_ids) for each in sequences)


@given(st.lists(st.integers(1, 4), max_size=20), st.integers(1, 8), st.integers(1, 3))
def test_steps_hold_each_group_once_an_epoch(sizes: list[int], per_step: int, epochs: int) -> None:
    steps = plan_steps(sizes, epochs=epochs, per_step=per_step, seed=0)
    every = [index for step in steps for index in step]
    assert len(every) == epochs * len(sizes)
    assert sorted(every) == sorted(list(range(len(sizes))) * epochs)
    assert all(sum(sizes[index] for index in step[:-1]) < per_step for step in steps)
