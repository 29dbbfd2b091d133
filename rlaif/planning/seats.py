"""The engines of each pool and the training's workers on their devices.

Invariant: seats that are returned fit their devices; others raise `UserError` with the setting to change.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from rlaif.errors import UserError
from rlaif.inference.pools import judge_context
from rlaif.inference.vllm.actor import cpu_kv_bytes
from rlaif.models.dtype import weights_dtype
from rlaif.models.resolve import find_adapter
from rlaif.models.shape import ModelShape, context_within, model_shape
from rlaif.planning.hardware import Hardware
from rlaif.planning.memory import GIB, Memory, engine_memory, gib, kv_bytes_per_token, trainer_memory
from rlaif.planning.tokens import JudgeCalls, learned_answers
from rlaif.recipe import EnginesSection, PhaseSection, PolicyTrainingSection, Recipe

Role = Literal["policy", "judge", "training"]
Placement = Literal["shared", "split"]
_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Seats:
    """The engines of one pool, or the workers of the training.

    Attributes:
        devices_each: GPUs of each; 1 on a CPU.
        strategy: `tp N` for engines, `ddp` or `fsdp` for workers.
        memory: what each takes on each of its devices.
        allowed: bytes of a device that it may take.
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
        return self.count * self.devices_each


def gpus_needed(recipe: Recipe, judges: Sequence[JudgeCalls]) -> int:
    """Return the GPUs that a run needs."""
    cluster = recipe.cluster
    engines = cluster.policy.engines * cluster.policy.tensor_parallel
    engines += len(_own_judge_models(recipe, judges)) * cluster.judge.engines * cluster.judge.tensor_parallel
    return _gpus_together(engines, cluster.training.workers, cluster.placement)


def _gpus_together(engines: int, workers: int, placement: Placement) -> int:
    # With `shared`, engines and workers use the same GPUs in turn.
    return max(engines, workers) if placement == "shared" else engines + workers


def _own_judge_models(recipe: Recipe, judges: Sequence[JudgeCalls]) -> list[str]:
    # With an adapter, the engines' base model stays the initial policy and can judge; with full weights it cannot.
    shared = recipe.training.lora is not None
    return sorted({judge.model for judge in judges if not (judge.model == "policy" and shared)})


def place_run(recipe: Recipe, judges: Sequence[JudgeCalls], hardware: Hardware, *, criteria_tokens: int) -> list[Seats]:
    """Return the seats of a run in the order in which it starts them, the training last.

    Args:
        criteria_tokens: most tokens of a question's own criteria in a judge's prompt.
    """
    policy = recipe.policy
    dtype_bytes = _DTYPE_BYTES[weights_dtype(policy.dtype, hardware.gpu)]
    shape = model_shape(policy.model, policy.revision)
    own = _own_judge_models(recipe, judges)
    serves_judge = "policy" not in own and any(judge.model == "policy" for judge in judges)
    judge_tokens = max((judge.output_tokens for judge in judges), default=0)
    place = partial(_place_engines, recipe, criteria_tokens=criteria_tokens, dtype_bytes=dtype_bytes, hardware=hardware)
    seats = [place("policy", policy.model, shape, judge_tokens=judge_tokens if serves_judge else 0)]
    for name in own:
        model, its_shape = (policy.model, shape) if name == "policy" else (name, model_shape(name))
        seats.append(place("judge", model, its_shape, judge_tokens=judge_tokens))
    return [*seats, _place_training(recipe, shape, hardware, dtype_bytes=dtype_bytes)]


def _place_engines(
    recipe: Recipe,
    role: Literal["policy", "judge"],
    model: str,
    shape: ModelShape,
    *,
    judge_tokens: int,
    criteria_tokens: int,
    dtype_bytes: int,
    hardware: Hardware,
) -> Seats:
    # `judge_tokens` are a judge's longest reply, or 0 if the engines serve no judge.
    lora = recipe.training.lora if role == "policy" else None
    section = recipe.cluster.policy if role == "policy" else recipe.cluster.judge
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
        lora_rank=lora.rank if lora else None,
        # The initial policy's adapter stays beside the current one.
        adapters=2 if lora and find_adapter(model, recipe.policy.revision) else 1,
        gpu=hardware.gpu,
    )
    allowed = int(section.gpu_memory * hardware.memory) if hardware.gpu else hardware.share(section.engines)
    per_token = kv_bytes_per_token(shape, dtype_bytes, parallel)
    cache = max(0, allowed - fixed.total)
    if section.kv_cache_gib is not None:
        cache = int(section.kv_cache_gib * GIB)
    elif not hardware.gpu:
        cache = cpu_kv_bytes(hardware.free, hardware.per_node(section.engines))
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
    wanted = recipe.policy.max_length
    if judge_tokens:
        wanted = judge_context(recipe.policy, recipe.longest_sampling, judge_tokens) + criteria_tokens
    context = context_within(model, wanted)
    if seats.memory.total > allowed or seats.kv_tokens < context:
        raise UserError(_does_not_fit(seats, section, hardware, context))
    return seats


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


def _place_training(recipe: Recipe, shape: ModelShape, hardware: Hardware, *, dtype_bytes: int) -> Seats:
    section = recipe.cluster.training
    # The same workers train in all phases.
    training, memory = max(
        (
            (phase.training, _phase_memory(recipe, phase, shape, dtype_bytes=dtype_bytes, gpu=hardware.gpu))
            for phase in recipe.every_phase
        ),
        key=lambda phase: phase[1].total,
    )
    allowed = hardware.share(section.workers)
    if memory.total > allowed:
        remedies = _remedies(recipe, training, hardware, memory)
        listed = ", ".join(f"{gib(size)} of {name}" for name, size in memory.parts().items() if size >= GIB // 20)
        raise UserError(
            f"cluster.training: a worker needs {gib(memory.total)} ({listed}), more than the {gib(allowed)} of its "
            f"{'GPU' if hardware.gpu else 'share of the node'}; expected {remedies}"
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


def _phase_memory(recipe: Recipe, phase: PhaseSection, shape: ModelShape, *, dtype_bytes: int, gpu: bool) -> Memory:
    """Return the memory of a worker that trains in a phase."""
    sampling = phase.sampling or recipe.sampling
    answers = sampling.max_tokens * learned_answers(phase)
    group = recipe.policy.max_length - sampling.max_tokens + answers
    # A group that is longer than the budget is a forward pass of its own.
    row = max(phase.training.max_tokens_per_pack, group)
    return trainer_memory(
        shape,
        phase.training,
        recipe.cluster.training,
        dtype_bytes=dtype_bytes,
        row_tokens=row,
        answer_tokens=row * answers // group,
        gpu=gpu,
    )


def _remedies(recipe: Recipe, training: PolicyTrainingSection, hardware: Hardware, memory: Memory) -> str:
    remedies = []
    if memory.activations > memory.total // 3:
        if not training.gradient_checkpointing:
            remedies.append("training.gradient_checkpointing: true")
        remedies.append("a smaller training.max_tokens_per_pack")
    if training.lora is None:
        remedies.append("training.lora")
    if hardware.gpu:
        sharded = recipe.cluster.training.strategy == "fsdp"
        remedies.append("more cluster.training.workers" if sharded else "cluster.training.strategy: fsdp")
    return " or ".join(remedies) or "a larger node or a smaller model"


def check_seats(seats: Sequence[Seats], placement: Placement, hardware: Hardware) -> None:
    """Check that all seats together, the training's last, fit the machines."""
    if not hardware.gpu:
        # Engines stay loaded while the trainer works, so a node holds all of them at once.
        total = sum(seat.memory.total * hardware.per_node(seat.count) for seat in seats)
        if total > hardware.free:
            each = ", ".join(f"{gib(seat.memory.total)} for {seat.role}" for seat in seats)
            raise UserError(
                f"cluster: a node needs {gib(total)} ({each}), but only {gib(hardware.free)} are free; "
                "expected a smaller model, fewer engines or workers, or a smaller cluster.policy.kv_cache_gib"
            )
        return
    engines, workers = sum(seat.devices for seat in seats[:-1]), seats[-1].devices
    needed = _gpus_together(engines, workers, placement)
    if needed > hardware.devices:
        how = "at once" if placement == "shared" else "together (cluster.placement: split)"
        raise UserError(
            f"cluster: engines need {engines} GPUs and training {workers}, {needed} {how}, "
            f"but there are {hardware.devices}; expected fewer engines or workers, or more GPUs"
        )
