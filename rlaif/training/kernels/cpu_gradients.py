"""Gradients on a CPU that keep their memory from pack to pack and are added to in place.

Autograd allocates each pack's gradients anew, as large as the weights, and adds them to the step's sum, which itself is
allocated between the first pack's activations and so fragments memory. Here the sum is one block, allocated before the
first pack, and the matrix product of a weight's gradient adds to it, as in Megatron-LM's fused gradient accumulation on
GPUs. Gradients that autograd still makes, such as a norm's, are added to the same block.

For a single worker: data parallelism exchanges the gradients that autograd returns, and these functions return none.

Suffixes name axes: N rows, I and O inputs and outputs of a layer.
"""

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# Gradients start at multiples of this many numbers: a cache line, as a tensor of its own would.
_ALIGNED = 16


def hold_cpu_gradients(model: nn.Module) -> None:
    """Allocate the gradients of a model's trained weights, zero, and make its layers add to them.

    `model.zero_grad()` then sets them to zero in place.

    Args:
        model: on a CPU, with trained weights of one type.

    Raises:
        ValueError: a trained weight is not on a CPU.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if any(weight.device.type != "cpu" for weight in weights):
        raise ValueError("held gradients are for models on a CPU")
    rooms = [-(-weight.numel() // _ALIGNED) * _ALIGNED for weight in weights]
    block = torch.zeros(sum(rooms), dtype=weights[0].dtype, device=weights[0].device)
    for weight, part in zip(weights, torch.split(block, rooms), strict=True):
        weight.grad = part[: weight.numel()].view_as(weight)
        weight.held = True  # type: ignore[attr-defined]

    def zero_grad(self: nn.Module, set_to_none: bool = True) -> None:
        block.zero_()

    model.zero_grad = types.MethodType(zero_grad, model)  # type: ignore[method-assign]
    for module in model.modules():
        if type(module) is nn.Linear and module.weight.requires_grad:
            module.forward = types.MethodType(_linear, module)  # type: ignore[method-assign]
        elif _is_plain_embedding(module):
            module.forward = types.MethodType(_embedding, module)


def weight_gradient(weight_OI: torch.Tensor, upstream_NO: torch.Tensor, rows_NI: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient of the weight in `rows_NI @ weight_OI.T`, or add it to the held one and return None.

    Args:
        weight_OI: the weight.
        upstream_NO: the gradient of the product.
        rows_NI: the other factor.
    """
    if getattr(weight_OI, "held", False) and weight_OI.grad is not None:
        weight_OI.grad.addmm_(upstream_NO.t(), rows_NI)
        return None
    return upstream_NO.t() @ rows_NI


def _is_plain_embedding(module: nn.Module) -> bool:
    return (
        type(module) is nn.Embedding
        and module.weight.requires_grad
        and module.max_norm is None
        and not module.sparse
        and not module.scale_grad_by_freq
    )


def _linear(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = _Linear.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]  # torch
    return result


def _embedding(self: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = _Embedding.apply(ids, self.weight, self.padding_idx)  # type: ignore[no-untyped-call]  # torch
    return result


class _Linear(torch.autograd.Function):
    """x @ weight.T + bias."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        upstream_NO = upstream[0].flatten(0, -2)
        to_x = (upstream_NO @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        to_bias = upstream_NO.sum(0) if ctx.needs_input_grad[2] else None
        return to_x, weight_gradient(weight, upstream_NO, x.flatten(0, -2)), to_bias


class _Embedding(torch.autograd.Function):
    """Rows of a weight; a pack's gradient takes no matrix as large as the vocabulary."""

    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, weight: torch.Tensor, padding: int | None) -> torch.Tensor:
        ctx.save_for_backward(ids, weight)
        ctx.padding = padding
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[None, torch.Tensor | None, None]:
        ids, weight = ctx.saved_tensors
        ids, gradient = ids.flatten(), upstream[0].flatten(0, -2)
        if ctx.padding is not None:  # An embedding never trains the row of its padding.
            real = ids != ctx.padding
            ids, gradient = ids[real], gradient[real]
        if weight.grad is None:
            return None, torch.zeros_like(weight).index_add_(0, ids, gradient), None
        weight.grad.index_add_(0, ids, gradient)
        return None, None, None
