"""Adapters on a CPU at the speed of the base model.

vLLM's PyTorch kernels for LoRA copy the adapter's matrices once for every token of a batch: 20 MB a token for rank 16
on a 135M model, which makes a prompt five times slower than without an adapter. Tokens of one adapter stand side by
side, so one matrix product a run of them gives the same numbers without the copies. Index -1 is "no adapter"; vLLM's
kernels would read the last slot for it.

Invariant: the result is that of vLLM's own kernels for every token that has an adapter, and untouched for the others.
"""

from collections.abc import Iterator

import torch


def use_segment_kernels() -> None:
    """Have vLLM's CPU wrapper multiply by runs of tokens; called before the engine is made, on a CPU alone."""
    from vllm.lora.punica_wrapper import punica_cpu

    punica_cpu.sgmv_shrink = _sgmv_shrink
    punica_cpu.sgmv_expand = _sgmv_expand
    punica_cpu.sgmv_expand_slice = _sgmv_expand_slice
    punica_cpu.bgmv_shrink = _bgmv_shrink
    punica_cpu.bgmv_expand = _bgmv_expand


Segments = list[tuple[int, int, int]]


def _segments(lengths: torch.Tensor, indices: torch.Tensor) -> Segments:
    """Return (start, end, slot) of each run that has an adapter."""
    found, start = [], 0
    for length, index in zip(lengths.tolist(), indices.tolist(), strict=True):
        if index >= 0:
            found.append((start, start + length, index))
        start += length
    return found


def _runs(indices: torch.Tensor, rows: int) -> Segments:
    if len(indices) == 1:
        # One request: its adapter holds for all rows, as for the logits of a whole prompt.
        return _segments(torch.tensor([rows]), indices)
    values, lengths = torch.unique_consecutive(indices, return_counts=True)
    return _segments(lengths, values)


def _products(
    inputs: torch.Tensor, weights: torch.Tensor, segments: Segments
) -> Iterator[tuple[int, int, torch.Tensor]]:
    """Yield (start, end, inputs[start:end] @ weights[slot].T): [N, I], [slots, (1,) O, I] -> [n, O]."""
    for start, end, slot in segments:
        matrix = weights[slot]
        if matrix.dim() == 3:
            matrix = matrix[0]
        yield start, end, inputs[start:end].to(matrix.dtype) @ matrix.T


def _shrink(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, segments: Segments, scaling: float
) -> None:
    for start, end, product in _products(inputs, weights, segments):
        output[start:end, : product.shape[1]] = scaling * product.to(output.dtype)


def _expand(
    inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, segments: Segments, add: bool, offset: int = 0
) -> None:
    for start, end, product in _products(inputs, weights, segments):
        width = min(product.shape[1], output.shape[1] - offset)
        part = output[start:end, offset : offset + width]
        product = product[:, :width].to(output.dtype)
        if add:
            part += product
        else:
            part.copy_(product)


# The signatures are those of vllm.lora.ops.torch_ops.


def _sgmv_shrink(
    inputs: torch.Tensor,
    lora_a_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    b_seq_start_loc: torch.Tensor,
    seq_len_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    batches: int,
    max_seq_length: int,
    token_nums: int,
    scaling: float,
) -> None:
    _shrink(inputs, lora_a_weights, output_tensor, _segments(seq_len_tensor, lora_indices_tensor), scaling)


def _sgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    b_seq_start_loc: torch.Tensor,
    seq_len_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    batches: int,
    max_seq_length: int,
    token_nums: int,
    add_inputs: bool = False,
) -> None:
    _expand(inputs, lora_b_weights, output_tensor, _segments(seq_len_tensor, lora_indices_tensor), add_inputs)


def _sgmv_expand_slice(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    b_seq_start_loc: torch.Tensor,
    seq_len_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    batches: int,
    max_seq_length: int,
    token_nums: int,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = False,
) -> None:
    segments = _segments(seq_len_tensor, lora_indices_tensor)
    _expand(inputs, lora_b_weights, output_tensor, segments, add_inputs, slice_offset)


def _bgmv_shrink(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    scaling: float = 1.0,
) -> None:
    _shrink(inputs, lora_b_weights, output_tensor, _runs(lora_indices_tensor, len(inputs)), scaling)


def _bgmv_expand(
    inputs: torch.Tensor,
    lora_b_weights: torch.Tensor,
    output_tensor: torch.Tensor,
    lora_indices_tensor: torch.Tensor,
    add_inputs: bool = True,
) -> None:
    _expand(inputs, lora_b_weights, output_tensor, _runs(lora_indices_tensor, len(inputs)), add_inputs)
