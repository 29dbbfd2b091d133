"""Layers that keep less for the backward pass: what is cheap to compute again is not kept.

Of a gated MLP (Shazeer 2020, arXiv:2002.05202) autograd keeps four tensors as wide as the MLP: gate, silu(gate), up and
their product, which goes into the projection down. Here it keeps gate and up. Of a root mean square norm (Zhang and
Sennrich 2019, arXiv:1910.07467) it keeps the input and the normalized input; here the input alone. On a small machine
these are a third of a packed row's activations, and computing them again costs next to nothing. A module is changed
only if it then gives what it gave. Under gradient checkpointing there is nothing to gain: what is kept here would be
kept beside what that keeps.
"""

import types
from typing import Any

import torch
import torch.nn.functional as F

_TRIAL_ROWS = 3


def slim(model: Any) -> int:
    """Change a bare model's norms and gated MLPs in place, where they are of the usual kind, and return how many."""
    changed = 0
    for module in model.modules():
        forward = _slim_forward(module)
        if forward is None:
            continue
        plain = module.forward
        module.forward = types.MethodType(forward, module)
        if _agrees(module, plain):
            changed += 1
        else:
            module.forward = plain
    return changed


def _slim_forward(module: Any) -> Any:
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return _norm
    return _mlp if all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")) else None


def _agrees(module: Any, plain: Any) -> bool:
    """Whether a changed module gives what it gave before, on a few made rows."""
    first = next(module.parameters())
    rows = torch.linspace(-2.0, 2.0, _TRIAL_ROWS * first.shape[-1], device=first.device, dtype=first.dtype)
    rows = rows.view(1, _TRIAL_ROWS, first.shape[-1])
    with torch.no_grad():
        ours, theirs = module(rows), plain(rows)
    return ours.dtype == theirs.dtype and torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _norm(self: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    if hidden_states.dtype != torch.float32 or self.weight.dtype != torch.float32:
        plain: torch.Tensor = type(self).forward(self, hidden_states)
        return plain
    result: torch.Tensor = _RMSNorm.apply(hidden_states, self.weight, self.variance_epsilon)  # type: ignore[no-untyped-call]  # torch
    return result


def _mlp(self: Any, x: torch.Tensor) -> torch.Tensor:
    gate, up = self.gate_proj(x), self.up_proj(x)
    product = _GatedProduct.apply(gate, up)  # type: ignore[no-untyped-call]  # torch
    if not torch.is_grad_enabled():
        return self.down_proj(product)  # type: ignore[no-any-return]  # a module of transformers
    place, gate, up = product.data_ptr(), gate.detach(), up.detach()

    def pack(kept: torch.Tensor) -> Any:
        # The projection, an adapter on it too, keeps its input; a view of another shape is the same memory.
        return kept.shape if kept.data_ptr() == place and kept.numel() == gate.numel() else kept

    def unpack(kept: Any) -> torch.Tensor:
        again: torch.Tensor = (F.silu(gate) * up).view(kept) if isinstance(kept, torch.Size) else kept
        return again

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        return self.down_proj(product)  # type: ignore[no-any-return]  # a module of transformers


class _GatedProduct(torch.autograd.Function):
    """silu(gate) * up."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (gradient,) = upstream
        gate, up = ctx.saved_tensors
        to_up = F.silu(gate).mul_(gradient)
        to_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return to_gate, to_up


class _RMSNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x^2) + epsilon), in float32."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        scale = torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        (gradient,) = upstream
        x, weight, scale = ctx.saved_tensors
        normalized = x * scale
        to_weight = None
        if ctx.needs_input_grad[1]:
            to_weight = (gradient * normalized).flatten(0, -2).sum(0)
        # d x = scale * (g - normalized * mean(g * normalized)) with g = gradient * weight
        inner = gradient * weight
        inner -= normalized.mul_((inner * normalized).mean(-1, keepdim=True))
        return inner.mul_(scale), to_weight, None
