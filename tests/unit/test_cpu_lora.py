"""The segment kernels against one matrix product a token; a token without an adapter is left unchanged.

vLLM's own PyTorch kernels compute the same for tokens that have an adapter.
"""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.inference.vllm import cpu_lora

SLOTS, INPUT, RANK, WIDTH = 3, 6, 4, 10

runs_of = st.lists(st.tuples(st.integers(-1, SLOTS - 1), st.integers(1, 5)), min_size=1, max_size=6)
"""The tokens of a batch as (slot, length) of each request."""


def per_token(inputs: torch.Tensor, weights: torch.Tensor, slots: Sequence[int]) -> list[torch.Tensor | None]:
    """Return weights[slot] @ token of each token, None for one without an adapter."""
    weights = weights.reshape(SLOTS, *weights.shape[-2:])
    return [None if slot < 0 else weights[slot] @ token for token, slot in zip(inputs, slots, strict=True)]


def weights_of(rows: int, columns: int, four: bool) -> torch.Tensor:
    """[slots, rows, columns], or vLLM's [slots, 1, rows, columns]."""
    shape = (SLOTS, 1, rows, columns) if four else (SLOTS, rows, columns)
    return torch.randn(shape)


def tokens_of(runs: Sequence[tuple[int, int]]) -> list[int]:
    return [slot for slot, length in runs for _ in range(length)]


def prefill(runs: Sequence[tuple[int, int]]) -> tuple[Any, ...]:
    """vLLM's `prefill_metadata`, the arguments that describe a batch of prompts."""
    lengths = torch.tensor([length for _, length in runs])
    slots = torch.tensor([slot for slot, _ in runs])
    return torch.cumsum(lengths, 0) - lengths, lengths, slots, len(runs), int(lengths.max()), int(lengths.sum())


@settings(deadline=None, max_examples=40)
@given(runs=runs_of, four=st.booleans(), seed=st.integers(0, 99))
def test_shrinking(runs: list[tuple[int, int]], four: bool, seed: int) -> None:
    torch.manual_seed(seed)
    slots = tokens_of(runs)
    inputs, weights = torch.randn(len(slots), INPUT), weights_of(RANK, INPUT, four)
    before = torch.randn(len(slots), RANK)
    expected = before.clone()
    for token, product in enumerate(per_token(inputs, weights, slots)):
        if product is not None:
            expected[token] = 0.5 * product
    as_prompts, as_steps = before.clone(), before.clone()
    cpu_lora._sgmv_shrink(inputs, weights, as_prompts, *prefill(runs), 0.5)
    cpu_lora._bgmv_shrink(inputs, weights, as_steps, torch.tensor(slots), 0.5)
    torch.testing.assert_close(as_prompts, expected)
    torch.testing.assert_close(as_steps, expected)


@settings(deadline=None, max_examples=40)
@given(runs=runs_of, four=st.booleans(), add=st.booleans(), seed=st.integers(0, 99))
def test_expanding(runs: list[tuple[int, int]], four: bool, add: bool, seed: int) -> None:
    torch.manual_seed(seed)
    slots = tokens_of(runs)
    inputs, weights = torch.randn(len(slots), RANK), weights_of(WIDTH, RANK, four)
    before = torch.randn(len(slots), WIDTH)
    expected = before.clone()
    for token, product in enumerate(per_token(inputs, weights, slots)):
        if product is not None:
            expected[token] = product + (before[token] if add else 0)
    as_prompts, as_steps = before.clone(), before.clone()
    cpu_lora._sgmv_expand(inputs, weights, as_prompts, *prefill(runs), add)
    cpu_lora._bgmv_expand(inputs, weights, as_steps, torch.tensor(slots), add_inputs=add)
    torch.testing.assert_close(as_prompts, expected)
    torch.testing.assert_close(as_steps, expected)


@settings(deadline=None, max_examples=40)
@given(runs=runs_of, offset=st.integers(0, 6), add=st.booleans(), seed=st.integers(0, 99))
def test_expanding_into_a_slice(runs: list[tuple[int, int]], offset: int, add: bool, seed: int) -> None:
    """Queries, keys and values lie side by side in one matrix: the other columns do not change."""
    torch.manual_seed(seed)
    slots = tokens_of(runs)
    inputs, weights = torch.randn(len(slots), RANK), weights_of(4, RANK, four=True)
    before = torch.randn(len(slots), WIDTH)
    expected = before.clone()
    for token, product in enumerate(per_token(inputs, weights, slots)):
        if product is not None:
            part = expected[token, offset : offset + 4]
            part.copy_(product + (part if add else 0))
    found = before.clone()
    cpu_lora._sgmv_expand_slice(inputs, weights, found, *prefill(runs), offset, 4, add)
    torch.testing.assert_close(found, expected)


def test_a_batch_without_adapters_changes_nothing() -> None:
    """vLLM's kernels read the last slot for index -1."""
    inputs, weights, output = torch.randn(5, RANK), weights_of(WIDTH, RANK, True), torch.randn(5, WIDTH)
    before = output.clone()
    cpu_lora._bgmv_expand(inputs, weights, output, torch.full((5,), -1))
    cpu_lora._sgmv_expand(inputs, weights, output, *prefill([(-1, 2), (-1, 3)]), True)
    assert torch.equal(output, before)


@pytest.mark.parametrize("slot", [-1, 1])
def test_one_requests_adapter_holds_for_all_rows(slot: int) -> None:
    """As vLLM asks for the logits of a whole prompt: one index, many rows."""
    inputs, weights, output = torch.randn(5, RANK), weights_of(WIDTH, RANK, True), torch.zeros(5, WIDTH)
    cpu_lora._bgmv_expand(inputs, weights, output, torch.tensor([slot]))
    expected = torch.zeros(5, WIDTH) if slot < 0 else inputs @ weights[slot, 0].T
    torch.testing.assert_close(output, expected)


def test_an_output_padded_further_than_the_adapter_keeps_its_padding() -> None:
    inputs, output = torch.randn(3, RANK), torch.full((3, WIDTH + 2), 7.0)
    weights = weights_of(WIDTH, RANK, True)
    cpu_lora._bgmv_expand(inputs, weights, output, torch.tensor([0, 0, 2]), add_inputs=False)
    assert (output[:, WIDTH:] == 7.0).all()
    torch.testing.assert_close(output[2, :WIDTH], weights[2, 0] @ inputs[2])


def test_weights_of_another_type_than_the_inputs() -> None:
    """A bfloat16 adapter over float32 activations: multiplied in the weights' type, added in the output's."""
    inputs, output = torch.randn(4, INPUT), torch.zeros(4, RANK)
    weights = weights_of(RANK, INPUT, True).bfloat16()
    cpu_lora._bgmv_shrink(inputs, weights, output, torch.tensor([1, 1, 0, -1]), 2.0)
    assert output.dtype == torch.float32
    expected = 2.0 * torch.stack(
        [weights[slot, 0].float() @ token for token, slot in zip(inputs, (1, 1, 0), strict=False)]
    )
    torch.testing.assert_close(output[:3], expected, atol=0.1, rtol=0.05)
    assert not output[3].any()
