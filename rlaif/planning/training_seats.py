"""Places the training's workers on their devices.

Invariant: workers that are returned fit their devices; others raise `UserError` with the setting to change.
"""

from rlaif.errors import UserError
from rlaif.models.shape import ModelShape
from rlaif.planning.hardware import Hardware
from rlaif.planning.memory import GIB, Memory, gib, trainer_memory
from rlaif.planning.seats import Seats
from rlaif.recipe import Recipe, TrainersSection, TrainingSection


def place_training(recipe: Recipe, shape: ModelShape, hardware: Hardware, *, dtype_bytes: int) -> Seats:
    """Return the training workers on their devices.

    Raises:
        UserError: a worker's weights, gradients, optimizer and activations do not fit its device.
    """
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
            f"expected {_remedies(training, section, hardware, memory)}"
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


def _remedies(training: TrainingSection, section: TrainersSection, hardware: Hardware, memory: Memory) -> str:
    remedies = []
    if memory.activations > memory.total // 3:
        if not training.gradient_checkpointing:
            remedies.append("training.gradient_checkpointing: true")
        remedies.append("a smaller training.max_tokens_per_pack")
    if training.lora is None:
        remedies.append("training.lora")
    if hardware.gpu:
        sharded = section.strategy == "fsdp"
        remedies.append("more cluster.training.workers" if sharded else "cluster.training.strategy: fsdp")
    return " or ".join(remedies) or "a larger node or a smaller model"
