"""The seats of a whole run: the policy's engines, engines of judges' own models, the training's workers."""

from collections.abc import Sequence

from rlaif.inference.pools import judge_context
from rlaif.models.context import context_within
from rlaif.models.dtype import weights_dtype
from rlaif.models.shape_lookup import model_shape
from rlaif.planning.engine_seats import place_engines
from rlaif.planning.hardware import Hardware
from rlaif.planning.judge_calls import JudgeCalls
from rlaif.planning.seats import Seats
from rlaif.planning.training_seats import place_training
from rlaif.recipe import Recipe

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
        UserError: a model is missing, or its engines or workers do not fit their devices.
    """
    policy, lora, cluster = recipe.policy, recipe.training.lora, recipe.cluster
    dtype_bytes = _DTYPE_BYTES[weights_dtype(policy.dtype, hardware.gpu)]
    shape = model_shape(policy.model, policy.revision)
    shared = lora is not None and any(judge.model == "policy" for judge in judges)
    judge_tokens = max((judge.output_tokens for judge in judges), default=0)
    seats = [
        place_engines(
            "policy",
            policy.model,
            cluster.policy,
            hardware,
            shape=shape,
            dtype_bytes=dtype_bytes,
            context=_context(recipe, policy.model, judge_tokens if shared else 0),
            lora_rank=lora.rank if lora else None,
        )
    ]
    for name in own_judge_models(recipe, judges):
        model = policy.model if name == "policy" else name
        seats.append(
            place_engines(
                "judge",
                model,
                cluster.judge,
                hardware,
                shape=shape if name == "policy" else model_shape(model),
                dtype_bytes=dtype_bytes,
                context=_context(recipe, model, judge_tokens),
                lora_rank=None,
            )
        )
    return [*seats, place_training(recipe, shape, hardware, dtype_bytes=dtype_bytes)]


def _context(recipe: Recipe, model: str, judge_tokens: int) -> int:
    """Return an engine's longest sequence in tokens; `judge_tokens` is 0 for an engine that serves no judge."""
    wanted = judge_context(recipe.policy, recipe.sampling, judge_tokens) if judge_tokens else recipe.policy.max_length
    return context_within(model, wanted)
