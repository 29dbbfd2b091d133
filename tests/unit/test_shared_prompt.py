"""A prompt occurs once in a row; log-probabilities and gradients equal those of each candidate alone."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaForCausalLM

from rlaif.training.groups import Group
from rlaif.training.kernels.layout import GroupSpan
from rlaif.training.shared_prompt import candidate_logps, pack_row
from tests.tiny import LONGEST, VOCABULARY, tiny_llama

token = st.integers(0, VOCABULARY - 1)
prompts = st.lists(token, min_size=1, max_size=25).map(tuple)
answers = st.lists(token, max_size=10).map(tuple)
groups_of = st.lists(
    st.builds(Group, prompts, st.lists(answers, min_size=1, max_size=4).map(tuple), st.just(())),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module", autouse=True)
def small_blocks() -> Iterator[None]:
    """Blocks so small that a group takes several."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rlaif.training.kernels.layout._QUERY_BLOCK", 5)
        yield


@pytest.fixture(scope="module")
def model() -> Any:
    return tiny_llama().eval()


@pytest.fixture(scope="module")
def plain(model: Any) -> Any:
    """The same weights in an unchanged model of transformers."""
    untouched = LlamaForCausalLM(type(model.config)(**{**model.config.to_diff_dict(), "attn_implementation": "eager"}))
    untouched.load_state_dict(model.state_dict())
    return untouched.eval()


def alone(plain: Any, group: Group, candidate: tuple[int, ...]) -> Any:
    """The candidate's summed log-probability, from a sequence of prompt and candidate only."""
    sequence = torch.tensor([[*group.prompt_token_ids, *candidate]])
    logps = plain(input_ids=sequence).logits[0].log_softmax(-1)
    start = len(group.prompt_token_ids) - 1
    return logps[torch.arange(start, start + len(candidate)), list(candidate)].sum()


def test_the_layout_of_a_row() -> None:
    row = pack_row([Group((5, 6, 7), ((8, 9), (10, 13, 14)), ()), Group((11,), ((12,),), ())])
    # The last token of a candidate predicts nothing.
    assert row.input_ids.tolist() == [[5, 6, 7, 8, 10, 13, 11]]
    # Each candidate continues the prompt's positions; each group starts at 0.
    assert row.position_ids.tolist() == [[0, 1, 2, 3, 3, 4, 0]]
    assert row.layout.group.tolist() == [0, 0, 0, 0, 0, 0, 1]
    assert row.layout.candidate.tolist() == [-1, -1, -1, 0, 1, 1, -1]
    assert list(row.layout.spans) == [GroupSpan(0, 6), GroupSpan(6, 7)]
    # The first token of a candidate is predicted by the prompt's last, not by its neighbour's.
    assert row.predicted_from.tolist() == [2, 3, 2, 4, 5, 6]
    assert row.targets.tolist() == [8, 9, 10, 13, 14, 12]
    assert row.owner.tolist() == [0, 0, 1, 1, 1, 2]
    assert row.lengths.tolist() == [2, 3, 1]


def test_who_sees_whom() -> None:
    row = pack_row([Group((5, 6), ((8, 9, 1), (10, 1)), ()), Group((11,), ((12, 1),), ())])
    seen = [[key for key in range(7) if row.layout.dense_mask()[0, 0, query, key]] for query in range(7)]
    assert seen == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 4],
        [5],
        [5, 6],
    ]


@given(groups_of)
def test_every_predicting_token_occurs_once_in_the_row(groups: list[Group]) -> None:
    row = pack_row(groups)
    everything = [
        token
        for group in groups
        for part in (group.prompt_token_ids, *(candidate[:-1] for candidate in group.candidates))
        for token in part
    ]
    candidates = [candidate for group in groups for candidate in group.candidates]
    assert row.input_ids.tolist() == [everything]
    assert row.input_ids.shape == row.position_ids.shape
    assert row.targets.tolist() == [t for candidate in candidates for t in candidate]
    assert row.lengths.tolist() == [len(candidate) for candidate in candidates]
    assert torch.bincount(row.owner, minlength=len(candidates)).tolist() == row.lengths.tolist()
    # A token is predicted from the position before its own, wherever that is in the row.
    positions = row.position_ids[0]
    before = [
        len(group.prompt_token_ids) - 1 + position
        for group in groups for candidate in group.candidates for position in range(len(candidate))
    ]  # fmt: skip
    assert positions[row.predicted_from].tolist() == before
    # A token sees all tokens before it in its own sequence, and itself: as many as its position says.
    assert row.layout.dense_mask()[0, 0].sum(1).tolist() == [position + 1 for position in positions.tolist()]
    assert max(positions) < LONGEST


@settings(max_examples=25, deadline=None)
@given(groups=groups_of, kind=st.sampled_from(["groups", "mask"]))
def test_log_probabilities_are_those_of_separate_sequences(
    model: Any, plain: Any, groups: list[Group], kind: Any
) -> None:
    model.set_attn_implementation("rlaif_groups" if kind == "groups" else "sdpa")
    with torch.no_grad():
        found = candidate_logps(model, pack_row(groups), kind)
        expected = torch.stack([alone(plain, group, candidate) for group in groups for candidate in group.candidates])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-5)


def test_gradients_are_those_of_separate_sequences(plain: Any) -> None:
    shared = tiny_llama()
    groups = [Group((5, 6, 7, 8), ((9, 10, 11), (12,), (9, 10)), ()), Group((30, 31), ((3, 4), (5,)), ())]
    weights = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.0])
    loss: Any = (candidate_logps(shared, pack_row(groups), "groups") * weights).sum()
    loss.backward()
    plain.zero_grad()
    separate: Any = torch.stack([alone(plain, group, candidate) for group in groups for candidate in group.candidates])
    (separate * weights).sum().backward()
    for (name, ours), theirs in zip(shared.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-4, rtol=1e-4, msg=name)


def test_a_candidate_does_not_know_its_neighbours(model: Any) -> None:
    model.set_attn_implementation("rlaif_groups")
    candidates = ((9, 10, 11), (12,), (40, 41, 42, 43))
    with torch.no_grad():
        one = candidate_logps(model, pack_row([Group((5, 6, 7), candidates, ())]), "groups").tolist()
        other = candidate_logps(model, pack_row([Group((5, 6, 7), candidates[::-1], ())]), "groups").tolist()
    assert one == pytest.approx(other[::-1], abs=1e-5)


def test_an_empty_row_takes_part_in_the_backward_pass() -> None:
    """A worker without groups in a pass must still exchange its gradients, all of them zero."""
    idle = tiny_llama()
    logps: Any = candidate_logps(idle, pack_row([]), "groups")
    assert logps.shape == (0,)
    logps.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in idle.parameters() if p.requires_grad)


def test_an_empty_candidate_is_certain(model: Any) -> None:
    model.set_attn_implementation("rlaif_groups")
    with torch.no_grad():
        logps = candidate_logps(model, pack_row([Group((5, 6), ((), (7,)), ())]), "groups")
    assert logps[0] == 0.0
    assert logps[1] < 0.0
