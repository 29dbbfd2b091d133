"""Adapters on a CPU at the speed of the base model.

vLLM's PyTorch kernels for LoRA copy the adapter's matrices once for every token of a batch: 20 MB a token for rank 16
on a 135M model, which makes a prompt five times slower than without an adapter. Tokens of one adapter are contiguous,
so one matrix product per run of them gives the same numbers without the copies. Index -1 means "no adapter"; vLLM's
kernels would read the last slot for it.

Invariant: the result is that of vLLM's own kernels for every token that has an adapter; other tokens stay untouched.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

Segments = list[tuple[int, int, int]]
"""(start, end, slot) of each run of tokens that has an adapter."""


def use_segment_kernels() -> None:
    """Have vLLM's CPU wrapper multiply by runs of tokens; call it before the engine is made, on a CPU alone."""
    from vllm.lora.punica_wrapper import punica_cpu

    punica_cpu.sgmv_shrink = _sgmv_shrink
    punica_cpu.sgmv_expand = _sgmv_expand
    punica_cpu.sgmv_expand_slice = _sgmv_expand_slice
    punica_cpu.bgmv_shrink = _bgmv_shrink
    punica_cpu.bgmv_expand = _bgmv_expand


# vLLM calls its `sgmv` kernels with six values that describe a batch of prompts (starts, lengths and slots of the
# requests, three sizes), followed by the arguments that the `bgmv` kernels have too.


def _sgmv_shrink(inputs: Tensor, weights: Tensor, output: Tensor, *batch_and_scaling: Any) -> None:
    *batch, scaling = batch_and_scaling
    _shrink(inputs, weights, output, _segments(batch[1], batch[2]), scaling=scaling)


def _sgmv_expand(inputs: Tensor, weights: Tensor, output: Tensor, *batch_and_add: Any) -> None:
    *batch, add = batch_and_add
    _expand(inputs, weights, output, _segments(batch[1], batch[2]), add=add)


def _sgmv_expand_slice(inputs: Tensor, weights: Tensor, output: Tensor, *batch_and_slice: Any) -> None:
    *batch, offset, _size, add = batch_and_slice
    _expand(inputs, weights, output, _segments(batch[1], batch[2]), add=add, offset=offset)


def _bgmv_shrink(inputs: Tensor, weights: Tensor, output: Tensor, slots: Tensor, scaling: float = 1.0) -> None:
    _shrink(inputs, weights, output, _runs(slots, len(inputs)), scaling=scaling)


def _bgmv_expand(inputs: Tensor, weights: Tensor, output: Tensor, slots: Tensor, add_inputs: bool = True) -> None:
    _expand(inputs, weights, output, _runs(slots, len(inputs)), add=add_inputs)


def _segments(lengths: Tensor, slots: Tensor) -> Segments:
    found, start = [], 0
    for length, slot in zip(lengths.tolist(), slots.tolist(), strict=True):
        if slot >= 0:
            found.append((start, start + length, slot))
        start += length
    return found


def _runs(slots: Tensor, rows: int) -> Segments:
    """Return the segments of a slot for each row, or of one slot for all rows."""
    if len(slots) == 1:
        # One request: its adapter holds for all rows, as for the logits of a whole prompt.
        return _segments(torch.tensor([rows]), slots)
    values, lengths = torch.unique_consecutive(slots, return_counts=True)
    return _segments(lengths, values)


def _shrink(inputs: Tensor, weights: Tensor, output: Tensor, segments: Segments, *, scaling: float) -> None:
    for start, end, product in _products(inputs, weights, segments):
        output[start:end, : product.shape[1]] = scaling * product.to(output.dtype)


def _expand(inputs: Tensor, weights: Tensor, output: Tensor, segments: Segments, *, add: bool, offset: int = 0) -> None:
    for start, end, product in _products(inputs, weights, segments):
        width = min(product.shape[1], output.shape[1] - offset)
        part = output[start:end, offset : offset + width]
        product = product[:, :width].to(output.dtype)
        if add:
            part += product
        else:
            part.copy_(product)


def _products(inputs: Tensor, weights: Tensor, segments: Segments) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (start, end, inputs[start:end] @ weights[slot].T): [N, I], [slots, (1,) O, I] -> [n, O]."""
    for start, end, slot in segments:
        matrix = weights[slot].reshape(-1, weights.shape[-1])
        yield start, end, inputs[start:end].to(matrix.dtype) @ matrix.T
