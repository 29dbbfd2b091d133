"""Opens what a judge needs outside a run: nothing, a remote endpoint's client, or engines on a Ray cluster.

Invariant: Ray is started only for a judge that asks a model of our own engines, and whatever was started is given back
when the session ends, however it ends.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from rlaif.engines.pool import EnginePool
from rlaif.errors import WorkError
from rlaif.judging.spec import JudgeSpec
from rlaif.models.resolve import BUILTIN, check_model
from rlaif.questions.prompt import Prompt
from rlaif.recipe import Recipe, parse_recipe
from rlaif.rounds.progress import Progress

# Room for the chat template and a word or two of a judge's own, in tokens.
_SPARE = 512
_STEP = 256


@dataclass(frozen=True, slots=True)
class Serving:
    """How judges' models are served.

    Attributes:
        recipe: of `serving_recipe`.
        address: of a Ray cluster to join; None starts one on this machine where one is needed.
        verbose: let the engines' output through.
    """

    recipe: Recipe
    address: str | None = None
    verbose: bool = False


@dataclass(frozen=True, slots=True)
class JudgeSession:
    """What serves the models of open judges; see `rlaif.judging.judge.Backends`.

    Attributes:
        served: the model behind each name that a judge file gives, such as `policy`.
    """

    served: Mapping[str, str] = field(default_factory=dict)
    _pools: Mapping[str, EnginePool] = field(default_factory=dict, repr=False)

    def vllm(self, model: str) -> EnginePool:
        """Return the engines that serve a model, by its name in the judge file."""
        return self._pools[model]


def serving_recipe(policy: str = BUILTIN, overrides: Iterable[str] = ()) -> Recipe:
    """Return a recipe of defaults that says how judges' models are served; only its policy and cluster matter.

    Args:
        policy: the model behind the name `policy` of a judge file.
        overrides: `a.b=value` each, such as `cluster.judge.engines=2` or `policy.dtype=bfloat16`.

    Raises:
        UserError: an override names no setting, or its value does not fit.
    """
    questions = {"train": {"type": "demo"}, "heldout": {"type": "demo", "split": "heldout"}}
    tree = {"policy": {"model": policy}, "questions": questions, "judge": {"name": "reference"}}
    return parse_recipe(yaml.safe_dump(tree), "--set", list(overrides))


def shown_bytes(prompt: Prompt, answers: Sequence[str]) -> int:
    """Return the bytes that a judge of two answers of a prompt is shown of them, each line quoted, at most.

    A token is at least a byte, so as many tokens always hold them.
    """
    longest = sorted(answers, key=lambda answer: len(answer.encode()), reverse=True)[:2]
    texts = [prompt.question, prompt.context, prompt.reference or "", *longest]
    return sum(len(text.encode()) + 2 * (1 + len(text.splitlines())) for text in texts)


@asynccontextmanager
async def judge_session(
    specs: Sequence[JudgeSpec], serving: Serving, progress: Progress, *, longest: int
) -> AsyncIterator[JudgeSession]:
    """Have all models of some judges answer, for the length of a block.

    Args:
        specs: the judges.
        serving: how.
        progress: told that engines start, and of those that are lost.
        longest: most bytes that a judge is shown of one question; see `shown_bytes`.

    Raises:
        UserError: a model does not exist, or no Ray cluster answers at the address.
        WorkError: the resources do not come, or an engine does not start.
    """
    recipe = serving.recipe
    names = sorted({model for spec in specs for model in spec.models})
    served = {name: recipe.policy.model if name == "policy" else name for name in names}
    for model in served.values():
        check_model(model)
    if not names:
        yield JudgeSession()
        return
    from rlaif.rounds.cluster import ray_cluster, uses_gpus

    progress.stage("start engines", len(names))
    with ray_cluster(serving.address, serving.verbose):
        gpu = uses_gpus(recipe)
        context = longest + max(_own_tokens(leaf) for spec in specs for leaf in spec.leaves)
        pools = {name: _pool(recipe, name, served[name], context, gpu, progress) for name in names}
        try:
            await _start(recipe, list(pools.values()), gpu, progress)
            yield JudgeSession(served, pools)
        finally:
            for pool in pools.values():
                await pool.release()


async def _start(recipe: Recipe, pools: Sequence[EnginePool], gpu: bool, progress: Progress) -> None:
    from rlaif.engines.placement import Need, wait_for

    section = recipe.cluster.judge
    need = Need(section.engines * section.tensor_parallel * len(pools) if gpu else 0, 0)
    wait_for(need, recipe.cluster.wait_minutes, progress.say, "the judges' engines")

    async def start(pool: EnginePool) -> None:
        await pool.start()
        progress.advance(1)

    try:
        async with asyncio.TaskGroup() as group:
            for pool in pools:
                group.create_task(start(pool))
    except* WorkError as errors:
        raise errors.exceptions[0] from None


def _own_tokens(leaf: JudgeSpec) -> int:
    """Return what a judge adds to what it is shown, at most: its files, as bytes, and its answer."""
    return sum(path.stat().st_size for _, path in leaf.files) + leaf.answer_tokens + _SPARE


def _pool(recipe: Recipe, name: str, model: str, longest: int, gpu: bool, progress: Progress) -> EnginePool:
    from rlaif.engines.actor import EngineSpec
    from rlaif.models.resolve import resolve_model, weights_id
    from rlaif.rounds.setup import model_context

    revision = recipe.policy.revision if name == "policy" else None
    folder = resolve_model(model, revision)
    wanted = -(-longest // _STEP) * _STEP
    context = min(wanted, model_context(folder) or wanted)
    spec = EngineSpec(
        model=model,
        revision=revision,
        section=recipe.cluster.judge,
        dtype=recipe.policy.dtype,
        context=context,
        max_length=context,
        gpu=gpu,
        lora_rank=None,
        probe_tolerance=None,
    )

    def tell(event: str, **fields: Any) -> None:
        progress.say(f"{event.replace('_', ' ')}: {', '.join(f'{key} {value}' for key, value in fields.items())}")

    return EnginePool(spec, weights_id(folder), "judge", recipe.cluster.placement, recipe.sampling.attempts, tell)
