"""Places a run's engines and training workers on their devices.

Invariant: seats that are returned fit their devices; others raise `UserError` with the setting to change.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from rlaif.errors import UserError
from rlaif.inference.pools import judge_context
from rlaif.inference.vllm.actor import cpu_kv_bytes
from rlaif.models.context import context_within
from rlaif.models.dtype import weights_dtype
from rlaif.models.shape import ModelShape
from rlaif.models.shape_lookup import model_shape
from rlaif.planning.hardware import Hardware
from rlaif.planning.judge_calls import JudgeCalls
from rlaif.planning.memory import GIB, Memory, engine_memory, gib, kv_bytes_per_token, trainer_memory
from rlaif.planning.seats import Seats
from rlaif.recipe import EnginesSection, Recipe

_DTYPE_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def own_judge_models(recipe: Recipe, judges: Sequence[JudgeCalls]) -> list[str]:
    """Return the models that judge on their own engines, each once.

    With an adapter, the engines' base model stays the initial policy and can judge; with full weights it cannot.
    """
    shared = recipe.training.lora is not None
    return sorted({judge.model for judge in judges if not (judge.model == "policy" and shared)})


def place_run(recipe: Recipe, judges: Sequence[JudgeCalls], hardware: Hardware) -> list[Seats]:
    """Return the seats of a run in the order in which it starts them, the training last.

    Raises:
        UserError: a model is missing, its engines or workers do not fit their devices, or tensor parallelism does not
            divide its heads.
    """
    policy = recipe.policy
    dtype_bytes = _DTYPE_BYTES[weights_dtype(policy.dtype, hardware.gpu)]
    shape = model_shape(policy.model, policy.revision)
    own = own_judge_models(recipe, judges)
    serves_judge = "policy" not in own and any(judge.model == "policy" for judge in judges)
    judge_tokens = max((judge.output_tokens for judge in judges), default=0)
    place = partial(_place_engines, recipe, dtype_bytes=dtype_bytes, hardware=hardware)
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
    dtype_bytes: int,
    hardware: Hardware,
) -> Seats:
    """Return a pool's engines; `judge_tokens` are a judge's longest reply, or 0 if the engines serve no judge."""
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
    wanted = judge_context(recipe.policy, recipe.sampling, judge_tokens) if judge_tokens else recipe.policy.max_length
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
    training, section = recipe.training, recipe.cluster.training
    answers = recipe.sampling.candidates * recipe.sampling.max_tokens
    group = recipe.policy.max_length - recipe.sampling.max_tokens + answers
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
    allowed = hardware.share(section.workers)
    if memory.total > allowed:
        listed = ", ".join(f"{gib(size)} of {name}" for name, size in memory.parts().items() if size >= GIB // 20)
        raise UserError(
            f"cluster.training: a worker needs {gib(memory.total)} ({listed}), more than the {gib(allowed)} of its "
            f"{'GPU' if hardware.gpu else 'share of the node'}; "
            f"expected {_remedies(recipe, hardware, memory)}"
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


def _remedies(recipe: Recipe, hardware: Hardware, memory: Memory) -> str:
    training, remedies = recipe.training, []
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
