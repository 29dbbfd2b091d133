"""Opens what a judge needs outside a run: nothing, a remote endpoint's client, or engines on a Ray cluster.

Invariant: Ray and engines are started by the first question to a model of ours that is not answered from the verdict
cache, and whatever was started is given back when the session ends, however it ends.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from rlaif.cluster.placement import engines_held, engines_need
from rlaif.cluster.shortage import Need, Shortage
from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.response_cache import ResponseCache
from rlaif.inference.vllm.pool import EnginePool, Terms
from rlaif.judges.build import open_judge
from rlaif.judges.judge import Judge
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.spending_limit import limited_spending
from rlaif.models.resolve import BUILTIN, check_model, resolve_model, weights_id
from rlaif.progress import Progress
from rlaif.recipe import Recipe, parse_recipe
from rlaif.store.events import AnyEvent

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
        max_cost: money at which endpoints are asked no more, in the currency of the judge file's prices, or None.
    """

    recipe: Recipe
    address: str | None = None
    verbose: bool = False
    max_cost: float | None = None


@dataclass(frozen=True, slots=True)
class JudgeSession:
    """What serves the models of open judges; see `rlaif.judges.judge.Backends`.

    Attributes:
        served: the model behind each name that a judge file gives, such as `policy`.
    """

    served: Mapping[str, str] = field(default_factory=dict)
    _engines: "_Engines | None" = field(default=None, repr=False)

    def vllm(self, model: str) -> "ServedModel":
        """Return what serves a model, by its name in the judge file."""
        if self._engines is None:
            raise ValueError(f"no judge of this session asks {model}")
        return ServedModel(self._engines, model)


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


def shown_bytes(prompt: Question, answers: Sequence[str]) -> int:
    """Return the bytes that a judge of two answers of a prompt is shown of them, each line quoted, at most.

    A token is at least a byte, so as many tokens always hold them.
    """
    longest = sorted(answers, key=lambda answer: len(answer.encode()), reverse=True)[:2]
    texts = [prompt.question, prompt.context, prompt.gold_answer or "", *longest]
    return sum(len(text.encode()) + 2 * (1 + len(text.splitlines())) for text in texts)


@asynccontextmanager
async def open_with_cache(
    spec: JudgeSpec, session: "JudgeSession", serving: Serving, *, free: bool
) -> AsyncIterator[Judge]:
    """Give a judge that asks only what the verdict cache does not hold, for the length of a block.

    Args:
        spec: the judge.
        session: serves its models.
        serving: holds the limit on money.
        free: see `ResponseCache`.

    Raises:
        UserError: an endpoint's key is not in the environment, or there are no prices to hold the limit by.
    """
    spending = limited_spending(spec, serving.max_cost, name="--max-cost")
    with closing(ResponseCache(free=free)) as cache:
        async with open_judge(spec, session, spending=spending, cache=cache) as judge:
            yield judge


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
        UserError: a model does not exist; later, when a model is first asked, no Ray cluster answers at the address.
        WorkError: when a model is first asked, the resources do not come, or an engine does not start.
    """
    names = sorted({model for spec in specs for model in spec.models})
    served = {name: serving.recipe.policy.model if name == "policy" else name for name in names}
    for model in served.values():
        check_model(model)
    if not names:
        yield JudgeSession()
        return
    context = longest + max(_own_tokens(leaf) for spec in specs for leaf in spec.leaves)
    engines = _Engines(serving, served, context, progress)
    try:
        yield JudgeSession(served, engines)
    finally:
        await engines.close()


def _own_tokens(leaf: JudgeSpec) -> int:
    """Return what a judge adds to what it is shown, at most: its files, as bytes, and its answer."""
    return sum(path.stat().st_size for _, path in leaf.files) + leaf.answer_tokens + _SPARE


def _place(model: str, revision: str | None) -> tuple[str, str]:
    """Return a folder with a model's config, and what names its weights; those of a hub are left where they are."""
    if model == BUILTIN or Path(model).is_dir():
        folder = resolve_model(model, revision)
        return folder, weights_id(folder)
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot = Path(hf_hub_download(model, "config.json", revision=revision)).parent
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(f"{model}: its config.json is not to be had: {reason}") from None
    # The hub's client keeps each commit of a model in a folder of that name.
    return str(snapshot), f"{model}@{snapshot.name}"


class _Engines:
    """The engines of a session, started when the first question comes that no cache answers.

    Args:
        serving: how they are served.
        served: the model behind each name.
        context: longest sequence that they are asked, in tokens; a model's own limit goes before.
        progress: told that they start, and of those that are lost.
    """

    def __init__(self, serving: Serving, served: Mapping[str, str], context: int, progress: Progress) -> None:
        self._serving, self._served, self._context, self._progress = serving, served, context, progress
        places = {name: _place(model, self._revision(name)) for name, model in served.items()}
        self._folders = {name: folder for name, (folder, _) in places.items()}
        self.identities = {name: identity for name, (_, identity) in places.items()}
        self._pools: dict[str, EnginePool] = {}
        self._starting = asyncio.Lock()
        self._open = AsyncExitStack()

    async def pool(self, name: str) -> EnginePool:
        """Return the running engines of a model."""
        async with self._starting:
            if not self._pools:
                await self._start()
        return self._pools[name]

    async def close(self) -> None:
        """Give all engines back, and the Ray cluster where it was started here."""
        await self._open.aclose()

    async def _start(self) -> None:
        from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

        recipe, progress = self._serving.recipe, self._progress
        progress.say("starting engines")
        self._open.enter_context(ray_cluster(self._serving.address, self._serving.verbose))
        gpu = uses_gpus(recipe)
        pools = {name: self._pool(name, gpu) for name in self._served}
        for pool in pools.values():
            self._open.push_async_callback(pool.release)
        cluster, need = recipe.cluster, self._need(gpu)
        await Shortage.of(cluster, self._emit).wait_for(need, "the judges' engines")
        counts = engines_held([cluster.judge] * len(pools), gpu, cluster.placement, need)
        try:
            async with asyncio.TaskGroup() as group:
                for pool, count in zip(pools.values(), counts, strict=True):
                    group.create_task(pool.start(count))
        except* WorkError as errors:
            raise errors.exceptions[0] from None
        self._pools = pools

    def _pool(self, name: str, gpu: bool) -> EnginePool:
        from rlaif.inference.vllm.actor import EngineSpec
        from rlaif.models.context import model_context

        recipe, folder = self._serving.recipe, self._folders[name]
        wanted = -(-self._context // _STEP) * _STEP
        context = min(wanted, model_context(folder) or wanted)
        spec = EngineSpec(
            model=self._served[name],
            revision=self._revision(name),
            section=recipe.cluster.judge,
            dtype=recipe.policy.dtype,
            context=context,
            max_length=context,
            gpu=gpu,
            lora_rank=None,
            probe_tolerance=None,
        )
        cluster = recipe.cluster
        terms = Terms(cluster.placement, recipe.sampling.attempts, self._need(gpu), Shortage.of(cluster, self._emit))
        return EnginePool(spec, self.identities[name], "judge", terms, self._emit)

    def _need(self, gpu: bool) -> Need:
        cluster = self._serving.recipe.cluster
        return engines_need([cluster.judge] * len(self._served), gpu, cluster.placement)

    def _revision(self, name: str) -> str | None:
        return self._serving.recipe.policy.revision if name == "policy" else None

    def _emit(self, event: AnyEvent) -> None:
        if event.notice is not None:
            self._progress.say(event.notice)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a session; see `rlaif.judges.judge.ModelBackend`. Its engines start with its first question."""

    _engines: _Engines = field(repr=False)
    _name: str

    @property
    def identity(self) -> str:
        """What names the weights that answer: their sha256, or a hub's model and commit."""
        return self._engines.identities[self._name]

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """See `ModelBackend`."""
        return await (await self._engines.pool(self._name)).choices(requests)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """See `ModelBackend`."""
        return await (await self._engines.pool(self._name)).chats(requests)
