"""Gradients that stay where they are from pack to pack, and are added to in place.

A step of several packs sums their gradients. Autograd makes each pack's anew, as large as the weights, and adds it to
the sum; and the sum itself comes to lie in gaps of the first pack's activations, which the next pack's then no longer
fit. Here the sum is one block, laid out before the first pack, and the matrix product that gives a weight's gradient
adds to it, as Megatron-LM's fused gradient accumulation does on GPUs. What autograd still makes by itself, such as a
norm's gradient, it adds to the same place.

For one worker alone: data parallelism exchanges what autograd hands it, and here that is nothing.
"""

import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

# Numbers between the starts of two gradients: of a cache line, which a tensor of its own is aligned to.
_ALIGNED = 16


def hold_gradients(model: nn.Module) -> None:
    """Give the trained weights of a model their gradients for good, zero, and let its layers add to them.

    `model.zero_grad()` sets them to zero from here on, and leaves them in place.

    Args:
        model: whose trained weights are all of one type, on one device.
    """
    weights = [weight for weight in model.parameters() if weight.requires_grad]
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


def weight_gradient(weight: torch.Tensor, upstream: torch.Tensor, rows: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient of `weight` in `rows @ weight.T`, or add it to the one that is held and return nothing.

    Args:
        weight: [O, I].
        upstream: [N, O], the gradient of the product.
        rows: [N, I].
    """
    if getattr(weight, "held", False) and weight.grad is not None:
        weight.grad.addmm_(upstream.t(), rows)
        return None
    return upstream.t() @ rows


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
        gradient = upstream[0].flatten(0, -2)
        to_x = (gradient @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        to_bias = gradient.sum(0) if ctx.needs_input_grad[2] else None
        return to_x, weight_gradient(weight, gradient, x.flatten(0, -2)), to_bias


class _Embedding(torch.autograd.Function):
    """Rows of a weight, without a matrix as large as the vocabulary for each pack's gradient."""

    @staticmethod
    def forward(ctx: Any, ids: torch.Tensor, weight: torch.Tensor, padding: int | None) -> torch.Tensor:
        ctx.save_for_backward(ids, weight)
        ctx.padding = padding
        return F.embedding(ids, weight)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[None, torch.Tensor | None, None]:
        ids, weight = ctx.saved_tensors
        ids, gradient = ids.flatten(), upstream[0].flatten(0, -2)
        if ctx.padding is not None:  # Whose row an embedding never trains.
            real = ids != ctx.padding
            ids, gradient = ids[real], gradient[real]
        if weight.grad is None:
            return None, torch.zeros_like(weight).index_add_(0, ids, gradient), None
        weight.grad.index_add_(0, ids, gradient)
        return None, None, None
