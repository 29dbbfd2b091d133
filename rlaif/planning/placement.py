"""Who sits where: engines and training workers on their devices, and whether all of it fits.

Invariant: a placement that is returned fits; one that does not raises `UserError` with the setting to change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rlaif.errors import UserError
from rlaif.inference.vllm.device import cpu_kv_bytes
from rlaif.models.shape import ModelShape
from rlaif.planning.hardware import Hardware
from rlaif.planning.memory import GIB, Memory, engine_memory, kv_bytes_per_token, trainer_memory
from rlaif.recipe import ClusterSection, EnginesSection, Recipe

Role = Literal["policy", "judge", "training"]


@dataclass(frozen=True, slots=True)
class Seats:
    """The engines of one pool, or the workers of the training.

    Attributes:
        role: what they are for.
        model: whose weights they hold.
        shape: of that model.
        count: engines or workers.
        devices_each: GPUs of each; 1 on a CPU.
        strategy: `tp N` for engines, `ddp` or `fsdp` for workers.
        memory: what each takes on each of its devices.
        allowed: bytes of a device that it may take.
        dtype_bytes: of a weight.
        kv_bytes_per_token: of an engine over all its devices; 0 for workers.
        kv_tokens: tokens that an engine's KV cache holds; 0 for workers.
    """

    role: Role
    model: str
    shape: ModelShape
    count: int
    devices_each: int
    strategy: str
    memory: Memory
    allowed: int
    dtype_bytes: int
    kv_bytes_per_token: int = 0
    kv_tokens: int = 0

    @property
    def devices(self) -> int:
        """Devices of all together."""
        return self.count * self.devices_each


def gpus_needed(cluster: ClusterSection, judge_pools: int) -> int:
    """Return the GPUs that a run needs: the larger of its stages where they share, else their sum.

    Args:
        cluster: the recipe's section.
        judge_pools: pools of judge engines beside the policy's.
    """
    engines = cluster.policy.engines * cluster.policy.tensor_parallel
    engines += judge_pools * cluster.judge.engines * cluster.judge.tensor_parallel
    workers = cluster.training.workers
    return max(engines, workers) if cluster.placement == "shared" else engines + workers


def place_engines(
    role: Literal["policy", "judge"],
    model: str,
    shape: ModelShape,
    section: EnginesSection,
    hardware: Hardware,
    *,
    dtype_bytes: int,
    context: int,
    lora_rank: int | None,
) -> Seats:
    """Return a pool's engines on their devices.

    Args:
        role, model, shape: whose engines.
        section: the pool's section of the recipe.
        hardware: the devices.
        dtype_bytes: of a weight.
        context: longest sequence that an engine takes, in tokens.
        lora_rank: of the adapters that it serves, or None.

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
    on_node = 1 if hardware.gpu else -(-section.engines // hardware.nodes)
    if hardware.gpu:
        allowed = int(section.gpu_memory * hardware.memory)
        cache = allowed - fixed.total
        if section.kv_cache_gib is not None:
            cache = int(section.kv_cache_gib * GIB)
    else:
        allowed = hardware.free // on_node
        cache = int(section.kv_cache_gib * GIB) if section.kv_cache_gib else cpu_kv_bytes(hardware.free, on_node)
    per_token = kv_bytes_per_token(shape, dtype_bytes, parallel)
    kv_tokens = max(0, cache) // per_token
    memory = replace(fixed, kv_cache=max(0, cache))
    if fixed.total > allowed or kv_tokens < context or memory.total > allowed:
        raise UserError(_does_not_fit(role, model, section, hardware, memory, fixed, allowed, kv_tokens, context))
    return Seats(
        role=role,
        model=model,
        shape=shape,
        count=section.engines,
        devices_each=parallel,
        strategy=f"tp {parallel}",
        memory=memory,
        allowed=allowed,
        dtype_bytes=dtype_bytes,
        kv_bytes_per_token=per_token * parallel,
        kv_tokens=kv_tokens,
    )


def _does_not_fit(
    role: str,
    model: str,
    section: EnginesSection,
    hardware: Hardware,
    memory: Memory,
    fixed: Memory,
    allowed: int,
    kv_tokens: int,
    context: int,
) -> str:
    device = "GPU" if hardware.gpu else "node"
    share = f"{section.gpu_memory:g} of its {_gib(hardware.memory)}" if hardware.gpu else "free"
    taken = f"cluster.{role}: {model} takes {_gib(fixed.weights)} of weights on each {device}"
    fixes = (
        f"a larger cluster.{role}.tensor_parallel or gpu_memory" if hardware.gpu else "a larger node or a smaller model"
    )
    if fixed.total > allowed:
        others = f" and {_gib(fixed.total - fixed.weights)} beside them, more than the {_gib(allowed)} that are {share}"
        return f"{taken}{others}; expected {fixes}"
    if kv_tokens < context:
        return (
            f"{taken} and leaves room for {kv_tokens:,} tokens in the KV cache, but one sequence may have {context:,} "
            f"(policy.max_length, and the judge's prompt around it); expected {fixes}, or a larger kv_cache_gib"
        )
    with_cache = f"{taken}, and with its KV cache {_gib(memory.total)}"
    return f"{with_cache}, more than the {_gib(allowed)} that are {share}; expected {fixes}"


def place_training(recipe: Recipe, shape: ModelShape, hardware: Hardware, *, dtype_bytes: int) -> Seats:
    """Return the training workers on their devices.

    Raises:
        UserError: a worker's weights, gradients, optimizer and activations do not fit its device.
    """
    training, section = recipe.training, recipe.cluster.training
    group = recipe.policy.max_length + (recipe.sampling.candidates - 1) * recipe.sampling.max_tokens
    answers = recipe.sampling.candidates * recipe.sampling.max_tokens
    # A group that is longer than the budget is a forward pass of its own.
    row = max(training.max_tokens_per_pack, group)
    memory = trainer_memory(
        shape,
        lora=training.lora,
        dtype_bytes=dtype_bytes,
        strategy=section.strategy,
        workers=section.workers,
        gradient_checkpointing=training.gradient_checkpointing,
        row_tokens=row,
        answer_tokens=row * answers // group,
        gpu=hardware.gpu,
    )
    on_node = 1 if hardware.gpu else -(-section.workers // hardware.nodes)
    allowed = (hardware.memory if hardware.gpu else hardware.free) // on_node
    if memory.total > allowed:
        parts = {
            "weights": memory.weights, "adapter": memory.adapter, "gradients": memory.gradients,
            "optimizer": memory.optimizer, "activations": memory.activations, "overhead": memory.overhead,
        }  # fmt: skip
        listed = ", ".join(f"{_gib(size)} of {name}" for name, size in parts.items() if size >= GIB // 20)
        raise UserError(
            f"cluster.training: a worker needs {_gib(memory.total)} ({listed}), more than the {_gib(allowed)} of its "
            f"{'GPU' if hardware.gpu else 'share of the node'}; expected {_remedy(recipe, hardware, memory)}"
        )
    return Seats(
        role="training",
        model=recipe.policy.model,
        shape=shape,
        count=section.workers,
        devices_each=1,
        strategy=section.strategy,
        memory=memory,
        allowed=allowed,
        dtype_bytes=dtype_bytes,
    )


def _remedy(recipe: Recipe, hardware: Hardware, memory: Memory) -> str:
    remedies = []
    if memory.activations > memory.total // 3:
        if not recipe.training.gradient_checkpointing:
            remedies.append("training.gradient_checkpointing: true")
        remedies.append("a smaller training.max_tokens_per_pack")
    if recipe.training.lora is None:
        remedies.append("training.lora")
    if hardware.gpu:
        fsdp = recipe.cluster.training.strategy == "fsdp"
        remedies.append("more cluster.training.workers" if fsdp else "cluster.training.strategy: fsdp")
    return " or ".join(remedies) or "a larger node or a smaller model"


def check_together(seats: Sequence[Seats], placement: Literal["shared", "split"], hardware: Hardware) -> None:
    """Refuse a placement that asks for more devices than there are, or for more of a node than it has.

    On a CPU engines stay loaded while the trainer works, so a node holds all of them at once.

    Raises:
        UserError: with what is asked for and what there is.
    """
    if not hardware.gpu:
        total = sum(seat.memory.total * -(-seat.count // hardware.nodes) for seat in seats)
        if total > hardware.free:
            each = ", ".join(f"{_gib(seat.memory.total)} for {seat.role}" for seat in seats)
            raise UserError(
                f"cluster: {_gib(total)} on a node ({each}), more than the {_gib(hardware.free)} that are free; "
                "expected a smaller model, fewer engines or workers, or a smaller cluster.policy.kv_cache_gib"
            )
        return
    engines = sum(seat.devices for seat in seats if seat.role != "training")
    workers = sum(seat.devices for seat in seats if seat.role == "training")
    needed = max(engines, workers) if placement == "shared" else engines + workers
    if needed > hardware.devices:
        how = "at once" if placement == "shared" else "together (cluster.placement: split)"
        raise UserError(
            f"cluster: engines need {engines} GPUs and training {workers}, {needed} {how}, "
            f"but there are {hardware.devices}; "
            "expected fewer engines or workers, or more GPUs"
        )


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
