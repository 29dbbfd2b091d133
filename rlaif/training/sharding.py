"""Sharding of a model over the workers of a training: FSDP2, `fully_shard` of PyTorch (Zhao et al. 2023,
arXiv:2304.11277).

Invariant: only the first worker ever holds a whole model, in its host's memory and while it hands it out tensor by
tensor; the others build theirs without weights. A device holds shards and, for a moment, one whole tensor.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn import Module, Parameter

from rlaif.training.host_memory import trim

T = TypeVar("T")

# Share of the weights after which the first worker returns their memory to the system.
_TRIM_AFTER = 1 / 32

# Matrices multiply in bfloat16. Gradients are summed over workers in float32, and the model returns float32: in
# bfloat16 a log-probability of -5 would be rounded by up to 0.016.
BFLOAT16_PASSES = MixedPrecisionPolicy(
    param_dtype=torch.bfloat16, reduce_dtype=torch.float32, output_dtype=torch.float32
)


def is_sharded(model: Any) -> bool:
    """Whether a model is one of `shard_model`."""
    return isinstance(model, FSDPModule)


def is_first() -> bool:
    """Whether this is the first worker."""
    return dist.get_rank() == 0


def from_first(make: Callable[[], T]) -> T:
    """Return to every worker what the first one makes; an error there is raised everywhere, so that nobody waits."""
    made: list[Any] = [None, None]
    if is_first():
        try:
            made[0] = make()
        except Exception as error:  # Raised below, in every worker.
            made[1] = error
    dist.broadcast_object_list(made)
    value, failure = made
    if failure is not None:
        raise failure
    result: T = value
    return result


def shard_model(model: Any, device: torch.device, policy: MixedPrecisionPolicy | None = None) -> None:
    """Shard a model in place; every worker calls.

    Args:
        model: on the first worker whole and on the CPU, on the others of the same structure on the meta device.
        device: of the shards.
        policy: precision of the passes; None computes in the weights' own.
    """
    whole = _take_weights(model)
    policy, mesh = policy or MixedPrecisionPolicy(), init_device_mesh(device.type, (dist.get_world_size(),))
    for layer in _layers(model):
        fully_shard(layer, mesh=mesh, mp_policy=replace(policy, output_dtype=None))
    fully_shard(model, mesh=mesh, mp_policy=policy)
    model.register_forward_hook(_release)
    _hand_out(model, whole, device)


def _take_weights(model: Any) -> list[torch.Tensor]:
    """Move a model to the meta device; return the weights of the first worker's, the last one first."""
    weights = list(_shared(model))
    built = [(name, parameter.dtype) for name, parameter, _ in weights]
    expected = from_first(lambda: built)
    if [name for name, _ in expected] != [name for name, _ in built]:
        raise RuntimeError("the workers built different models")
    for (_, parameter, places), (_, dtype) in zip(weights, expected, strict=True):
        empty = Parameter(torch.empty_like(parameter, device="meta", dtype=dtype), parameter.requires_grad)
        for module, name in places:
            module.register_parameter(name, empty)
    return [parameter.data for _, parameter, _ in reversed(weights)] if is_first() else []


def _hand_out(model: Any, whole: list[torch.Tensor], device: torch.device) -> None:
    """Fill every worker's shards, buffers and plain tensors with the first worker's; `whole` is used up."""
    parts = list(_shared(model))
    total = sum(parameter.numel() for _, parameter, _ in parts)
    freed = 0
    for _, parameter, places in parts:
        given = whole.pop().to(device) if whole else torch.empty(parameter.shape, dtype=parameter.dtype, device=device)
        shard = distribute_tensor(given, parameter.device_mesh, parameter.placements, src_data_rank=0)
        del given
        filled = Parameter(shard, parameter.requires_grad)
        for module, name in places:
            module.register_parameter(name, filled)
        freed += parameter.numel()
        if freed > total * _TRIM_AFTER:
            trim()
            freed = 0
    plain = list(_plain_tensors(model))
    own = [tensors[name].dtype for tensors, name in plain]
    for (tensors, name), dtype in zip(plain, from_first(lambda: own), strict=True):
        value = tensors[name]
        value = torch.empty_like(value, dtype=dtype, device=device) if value.is_meta else value.to(device)
        dist.broadcast(value, src=0)
        tensors[name] = value


def _release(model: Any, *_: Any) -> None:
    """Release what a forward pass keeps gathered for its backward pass, where none follows.

    An optimizer that is made next would train the gathered copies instead of the shards.
    """
    if not torch.is_grad_enabled():
        model.reshard()


def _shared(model: Module) -> Iterator[tuple[str, Any, list[tuple[Module, str]]]]:
    """Yield each parameter once, tied ones too, with its first name and the modules that hold it, by their names."""
    found: dict[int, tuple[str, Parameter, list[tuple[Module, str]]]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            entry = found.setdefault(id(parameter), (f"{prefix}.{name}", parameter, []))
            entry[2].append((module, name))
    yield from found.values()


def _layers(model: Any) -> list[Module]:
    """Return the decoder layers, each gathered and released as a whole; inner ones first."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    names = set(base._no_split_modules or ())
    return [module for module in reversed(list(base.modules())) if type(module).__name__ in names]


def _plain_tensors(model: Module) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the place of each buffer and of each tensor that is a mere attribute, such as rotary frequencies."""
    for module in model.modules():
        for tensors in (module._buffers, vars(module)):
            for name, value in tensors.items():
                if isinstance(value, torch.Tensor):
                    yield tensors, name


def gathered_weights(model: Any) -> dict[str, torch.Tensor]:
    """Return the trained weights of a sharded model, whole and on the CPU, to the first worker; every worker calls.

    Tensor by tensor: no other worker holds a second one. Of a model with an adapter these are the adapter's.
    """
    whole: dict[str, torch.Tensor] = {}
    once: dict[int, torch.Tensor] = {}
    adapted = hasattr(model, "peft_config")
    for name, tensor in model.state_dict(keep_vars=True).items():
        if adapted and not tensor.requires_grad:
            continue
        if id(tensor) not in once:
            value = tensor.detach()
            value = value.full_tensor() if isinstance(value, DTensor) else value
            once[id(tensor)] = value.cpu() if is_first() else value.new_empty(0)
        whole[name] = once[id(tensor)]
    return whole if is_first() else {}
