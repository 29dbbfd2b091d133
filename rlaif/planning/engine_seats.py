"""Places a pool's engines on their devices.

Invariant: engines that are returned fit their devices; others raise `UserError` with the setting to change.
"""

from dataclasses import replace
from typing import Literal

from rlaif.errors import UserError
from rlaif.inference.vllm.device import cpu_kv_bytes
from rlaif.models.shape import ModelShape
from rlaif.planning.hardware import Hardware
from rlaif.planning.memory import GIB, engine_memory, gib, kv_bytes_per_token
from rlaif.planning.seats import Seats
from rlaif.recipe import EnginesSection


def place_engines(
    role: Literal["policy", "judge"],
    model: str,
    section: EnginesSection,
    hardware: Hardware,
    *,
    shape: ModelShape,
    dtype_bytes: int,
    context: int,
    lora_rank: int | None,
) -> Seats:
    """Return a pool's engines on their devices.

    Args:
        role, model, shape: of the pool, its model, and the model's shape.
        section: the pool's section of the recipe.
        hardware: the devices.
        dtype_bytes: bytes of a weight.
        context: longest sequence, in tokens.
        lora_rank: of the adapters, or None.

    Raises:
        UserError: the weights leave no room for one sequence, or tensor parallelism does not divide the heads.
    """
    parallel = section.tensor_parallel if hardware.gpu else 1
    if shape.heads % parallel:
        raise UserError(
            f"cluster.{role}.tensor_parallel: {parallel} does not divide the {shape.heads} attention heads of {model}; "
            "expected a divisor"
        )
    fixed = engine_memory(
        shape,
        dtype_bytes=dtype_bytes,
        tensor_parallel=parallel,
        max_num_seqs=section.max_num_seqs,
        lora_rank=lora_rank,
        gpu=hardware.gpu,
    )
    allowed = int(section.gpu_memory * hardware.memory) if hardware.gpu else hardware.share(section.engines)
    per_token = kv_bytes_per_token(shape, dtype_bytes, parallel)
    cache = max(0, _kv_cache(section, hardware, allowed - fixed.total))
    seats = Seats(
        role=role,
        model=model,
        shape=shape,
        count=section.engines,
        devices_each=parallel,
        strategy=f"tp {parallel}",
        memory=replace(fixed, kv_cache=cache),
        allowed=allowed,
        dtype_bytes=dtype_bytes,
        kv_bytes_per_token=per_token * parallel,
        kv_tokens=cache // per_token,
    )
    if seats.memory.total > allowed or seats.kv_tokens < context:
        raise UserError(_does_not_fit(seats, section, hardware, context))
    return seats


def _kv_cache(section: EnginesSection, hardware: Hardware, left: int) -> int:
    """Return the bytes of an engine's KV cache; on a GPU it takes what is `left` of the engine's share."""
    if section.kv_cache_gib is not None:
        return int(section.kv_cache_gib * GIB)
    return left if hardware.gpu else cpu_kv_bytes(hardware.free, hardware.per_node(section.engines))


def _does_not_fit(seats: Seats, section: EnginesSection, hardware: Hardware, context: int) -> str:
    memory, role = seats.memory, f"cluster.{seats.role}"
    if hardware.gpu:
        device, fixes = "GPU", f"a larger {role}.tensor_parallel or gpu_memory"
        limit = f"{gib(seats.allowed)}, {section.gpu_memory:g} of its {gib(hardware.memory)}"
    else:
        device, fixes = "node", "a larger node or a smaller model"
        limit = f"{gib(seats.allowed)} that are free"
    weights = f"{role}: {seats.model} takes {gib(memory.weights)} of weights on each {device}"
    fixed = memory.total - memory.kv_cache
    if fixed > seats.allowed:
        return f"{weights} and {gib(fixed - memory.weights)} besides, more than the {limit}; expected {fixes}"
    if seats.kv_tokens < context:
        return (
            f"{weights}, which leaves {seats.kv_tokens:,} tokens for the KV cache, but one sequence may have "
            f"{context:,} (policy.max_length, and the judge's prompt around it); expected {fixes}, or a larger "
            "kv_cache_gib"
        )
    return f"{weights}, {gib(memory.total)} with its KV cache, more than the {limit}; expected {fixes}"
