"""With every kind of attention over groups a candidate has the log-probability that it has alone."""

from typing import Any

import pytest
import torch

from rlaif.training.groups import Group
from rlaif.training.kernels.answer_head import token_logps
from rlaif.training.kernels.attention import Attention, attention_of, set_attention
from rlaif.training.shared_prompt import candidate_logps, pack_row
from tests.tiny import tiny_llama

GROUPS = [
    Group((5, 6, 7, 8), ((9, 10, 11), (12,), (9, 10)), ()),
    Group((5,), ((20, 21),), ()),
    Group(tuple(range(30, 60)), ((3, 4), ()), ()),
]


def alone(model: Any, group: Group, candidate: tuple[int, ...]) -> float:
    prompt = group.prompt_token_ids
    with torch.no_grad():
        logps = model(input_ids=torch.tensor([[*prompt, *candidate]])).logits[0].log_softmax(-1)
    return sum(float(logps[len(prompt) - 1 + i, token]) for i, token in enumerate(candidate))


@pytest.mark.parametrize("kind", ["groups", "mask", "eager", "alone"])
def test_candidates_are_scored_as_if_alone(kind: Any) -> None:
    model = tiny_llama().eval()
    expected = [alone(model, group, candidate) for group in GROUPS for candidate in group.candidates]
    set_attention(model, Attention(kind, "sdpa" if kind == "alone" else ""))
    assert attention_of(model) == kind
    with torch.no_grad():
        found = candidate_logps(model, pack_row(GROUPS), kind)
    assert found.tolist() == pytest.approx(expected, abs=1e-4)


def test_the_block_mask_is_the_dense_mask_and_filler_sees_only_itself() -> None:
    """FlexAttention itself runs on CUDA; this tests its mask."""
    layout = pack_row(GROUPS).layout
    length = len(layout.group)
    block_mask = layout.block_mask()
    every = torch.arange(block_mask.shape[-1])
    allowed = block_mask.mask_mod(torch.tensor(0), torch.tensor(0), every[:, None], every[None, :])
    assert torch.equal(allowed[:length, :length], layout.dense_mask()[0, 0])
    assert torch.equal(allowed[length:], torch.eye(len(every), dtype=torch.bool)[length:])


def test_groups_of_a_row_do_not_see_each_other() -> None:
    model = tiny_llama().eval()
    with torch.no_grad():
        together = candidate_logps(model, pack_row(GROUPS), "groups").tolist()
        apart = [value for group in GROUPS for value in candidate_logps(model, pack_row([group]), "groups").tolist()]
    assert together == pytest.approx(apart, abs=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_token_log_probabilities_and_their_gradient(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    logits = (4 * torch.randn(50, 1000)).to(dtype)
    targets = torch.randint(0, 1000, (50,))
    upstream = torch.randn(50)
    plain = logits.clone().requires_grad_()
    expected = plain.float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    expected.backward(upstream)
    leaf = logits.clone().requires_grad_()
    # The gradient is written over the operation's result, as over a head's logits.
    found = token_logps(leaf * 1.0, targets)
    found.backward(upstream)
    assert torch.allclose(found, expected, atol=1e-5)
    assert leaf.grad is not None
    assert plain.grad is not None
    assert torch.allclose(leaf.grad.float(), plain.grad.float(), atol=1e-6 if dtype == torch.float32 else 2e-2)
