"""Layers for a CPU that keep less for the backward pass and recompute the rest cheaply; gradients added to in place.

Of a gated MLP (Shazeer 2020, arXiv:2002.05202) autograd keeps four tensors as wide as the MLP: gate, silu(gate), up,
and their product. Here it keeps gate and up, and recomputes products element by element; silu's backward pass needs the
one exponential anyway.

Of a root mean square norm (Zhang and Sennrich 2019, arXiv:1910.07467) autograd keeps the input and the normalized
input. Here it keeps the result, which the next linear layers keep anyway, and divides the weight out again (as NVIDIA's
Apex does with `memory_efficient`); a norm with a weight too close to zero keeps its input.

In float32 the two save almost half of a layer's activations. A module is changed only if its output stays the same.

Autograd allocates each pack's gradients anew, as large as the weights, and adds them to the step's sum, which itself is
allocated between the first pack's activations and so fragments memory. Here the sum is one block, allocated before the
first pack, and the matrix product of a weight's gradient adds to it, as in Megatron-LM's fused gradient accumulation on
GPUs. Gradients that autograd still makes, such as a norm's, are added to the same block. This is for a single worker:
data parallelism exchanges the gradients that autograd returns, and these functions return none.

Suffixes name axes: N rows, D the model's width, M the MLP's width, I and O inputs and outputs of a layer.
"""

import inspect
import types
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from rlaif.training.kernels.answer_head import NarrowMlp

# Gradients start at multiples of this many numbers: a cache line, as a tensor of its own would.
_ALIGNED = 16
# Above this, dividing a float32 by the weight undoes the multiplication up to rounding.
_LEAST_WEIGHT = 1e-12


def use_cpu_layers(model: nn.Module) -> int:
    """Replace the forward pass of a model's norms and gated MLPs of the usual kind, and return how many.

    The model has all its adapters already; modules with an adapter, and all but float32, are left unchanged.
    """
    if any(weight.device.type != "cpu" for weight in model.parameters()):
        raise ValueError("these layers are for models on a CPU")
    return sum(_change(module) for module in model.modules())


def _change(module: Any) -> bool:
    if _is_norm(module):
        smaller, width = types.MethodType(_norm, module), module.weight.shape[-1]
    elif _is_gated_mlp(module):
        smaller, width = types.MethodType(_mlp, module), module.gate_proj.in_features
    else:
        return False
    narrow = module.forward if isinstance(module.forward, NarrowMlp) else None
    plain = narrow.whole if narrow else module.forward
    rows = torch.linspace(-2.0, 2.0, 3 * width, device=next(module.parameters()).device).view(1, 3, width)
    with torch.no_grad():
        if not torch.allclose(smaller(rows), plain(rows), rtol=1e-4, atol=1e-5):
            return False
    if narrow:
        narrow.whole = smaller
    else:
        module.forward = smaller
    return True


def _is_norm(module: Any) -> bool:
    return (
        type(module).__name__.endswith("RMSNorm")
        and hasattr(module, "variance_epsilon")
        and module.weight.dtype == torch.float32
        and _takes_one_tensor(module)
    )


def _is_gated_mlp(module: Any) -> bool:
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if any(isinstance(part, nn.Dropout) for part in module.modules()):
        return False  # A trial outside of training would not show it.
    return _takes_one_tensor(module) and all(
        type(part) is nn.Linear
        and part.bias is None
        and part.weight.dtype == torch.float32
        and part.weight.requires_grad
        for part in parts
    )


def _takes_one_tensor(module: nn.Module) -> bool:
    return len(inspect.signature(type(module).forward).parameters) == 2  # `self` and the tensor.


def _norm(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    result: torch.Tensor = _RMSNorm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]  # torch
    return result


def _mlp(self: Any, x: torch.Tensor) -> torch.Tensor:
    weights = self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
    result: torch.Tensor = _GatedMlp.apply(x, *weights)  # type: ignore[no-untyped-call]  # torch
    return result


class _RMSNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon), in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
        result = (x * scale).mul_(weight)
        ctx.by_result = bool(weight.abs().min() > _LEAST_WEIGHT)
        ctx.save_for_backward(result if ctx.by_result else x, weight, scale)
        return result

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = upstream
        kept, weight, scale = ctx.saved_tensors
        normalized = kept / weight if ctx.by_result else kept * scale
        to_weight = (gradient * normalized).flatten(0, -2).sum(0) if ctx.needs_input_grad[1] else None
        # d x = scale * (g - normalized * mean(g * normalized)) with g = gradient * weight
        inner = gradient * weight
        inner -= normalized.mul_((inner * normalized).mean(-1, keepdim=True))
        return inner.mul_(scale), to_weight, None


class _GatedMlp(torch.autograd.Function):
    """(silu(x @ gate.T) * (x @ up.T)) @ down.T, for x of [..., D]."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, to_gate_MD: torch.Tensor, to_up_MD: torch.Tensor, down_DM: torch.Tensor
    ) -> torch.Tensor:
        gate, up = F.linear(x, to_gate_MD), F.linear(x, to_up_MD)
        ctx.save_for_backward(x, gate, up, to_gate_MD, to_up_MD, down_DM)
        return F.linear(F.silu(gate).mul_(up), down_DM)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, gate, up, to_gate_MD, to_up_MD, down_DM = ctx.saved_tensors
        upstream_ND, x_ND, gate_NM, up_NM = (part.flatten(0, -2) for part in (upstream[0], x, gate, up))
        sigmoid_NM = torch.sigmoid(gate_NM)
        silu_NM = gate_NM * sigmoid_NM
        product_NM = silu_NM * up_NM
        of_down = _weight_gradient(down_DM, upstream_ND, product_NM)
        of_product_NM = torch.mm(upstream_ND, down_DM, out=product_NM)
        of_up = _weight_gradient(to_up_MD, (up_side_NM := of_product_NM * silu_NM), x_ND)
        # silu'(z) = sigmoid(z) + silu(z) * (1 - sigmoid(z)), written over the sigmoid
        slope_NM = sigmoid_NM.addcmul_(sigmoid_NM, silu_NM, value=-1).add_(silu_NM)
        gate_side_NM = of_product_NM.mul_(up_NM).mul_(slope_NM)
        of_gate = _weight_gradient(to_gate_MD, gate_side_NM, x_ND)
        to_x = torch.mm(gate_side_NM, to_gate_MD).addmm_(up_side_NM, to_up_MD).view(x.shape)
        return to_x, of_gate, of_up, of_down


def hold_cpu_gradients(model: nn.Module) -> None:
    """Allocate the gradients of a model's trained weights, all of one type, and make its layers add to them.

    `model.zero_grad()` then sets them to zero in place.
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


def _weight_gradient(weight_OI: torch.Tensor, upstream_NO: torch.Tensor, rows_NI: torch.Tensor) -> torch.Tensor | None:
    """Return the gradient of the weight in `rows_NI @ weight_OI.T`, or add it to the held one and return None."""
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
        return to_x, _weight_gradient(weight, upstream_NO, x.flatten(0, -2)), to_bias


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
