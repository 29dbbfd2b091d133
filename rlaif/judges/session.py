"""Serves judges without a run: by nothing, by an endpoint's client, or by engines on a Ray cluster.

Invariant: Ray and engines start with the first request to a model of ours that the response cache does not answer, and
end with the session, however it ends.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rlaif.data.criteria import criteria_bytes
from rlaif.data.gold_answer import shown_gold_answer
from rlaif.data.question import Question
from rlaif.errors import UserError, first_line
from rlaif.inference.pools import Pools
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.response_cache import ResponseCache
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.judges.build import check_judge_templates, limited_spending, open_judge
from rlaif.judges.endpoints import Trial
from rlaif.judges.judge import Judge
from rlaif.judges.serving import Serving
from rlaif.judges.spec import JudgeSpec
from rlaif.models.builtin import BUILTIN
from rlaif.models.resolve import check_model, find_adapter, resolve_model, weights_id
from rlaif.models.shape import context_within
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import shown_question
from rlaif.store.events import AnyEvent

# Tokens for the chat template and a few words that the judge adds.
_SPARE = 512
# Contexts are multiples of this many tokens.
_STEP = 256


def shown_bytes(question: Question, answers: Sequence[str]) -> int:
    """Return the most bytes of a question and two of its answers that a judge is shown, with each line quoted.

    A token is at least a byte, so as many tokens always hold them.
    """
    longest = sorted(answers, key=lambda answer: len(answer.encode()), reverse=True)[:2]
    texts = [shown_question(question), question.context, shown_gold_answer(question.gold_answer), *longest]
    quoted = sum(len(text.encode()) + 2 * (1 + len(text.splitlines())) for text in texts)
    return quoted + criteria_bytes(question.criteria)


class JudgeSession:
    """Serves the models of judges; see `rlaif.inference.requests.Backends`.

    Args:
        longest: most bytes that a judge is shown of one question; see `shown_bytes`.

    Attributes:
        served: the model behind each name that a judge file gives, such as `policy`.

    Raises:
        UserError: a model does not exist.
    """

    def __init__(self, specs: Sequence[JudgeSpec], serving: Serving, progress: Progress, *, longest: int) -> None:
        self._serving, self._progress = serving, progress
        policy = serving.settings.policy
        self.served = {
            name: policy.model if name == "policy" else name
            for name in sorted({model for spec in specs for model in spec.models})
        }
        for name, model in self.served.items():
            check_model(model, self._revision(name))
        for spec in specs:
            check_judge_templates(spec, policy)
        self._sources = {name: _find_source(model, self._revision(name)) for name, model in self.served.items()}
        asking = (leaf for spec in specs for leaf in spec.leaves if leaf.models)
        tokens = longest + max(map(_own_tokens, asking), default=0)
        self._context = -(-tokens // _STEP) * _STEP
        self._pools: dict[str, EnginePool] = {}
        self._starting = asyncio.Lock()
        self._opened = AsyncExitStack()

    def vllm(self, model: str) -> "ServedModel":
        """Return what serves a model, by its name in the judge file."""
        return ServedModel(self._sources[model].identity, model, self)

    async def pool(self, model: str) -> EnginePool:
        """Return the running engines of a model; all engines of the session start with the first call.

        Raises:
            UserError: no Ray cluster answers at the address.
            WorkError: the resources do not come, or an engine does not start.
        """
        async with self._starting:
            if not self._pools:
                await self._start()
        return self._pools[model]

    async def aclose(self) -> None:
        """Give all engines back, and the Ray cluster where it was started here."""
        await self._opened.aclose()

    @asynccontextmanager
    async def open_judge(self, spec: JudgeSpec, *, free: bool, trial: Trial | None = None) -> AsyncIterator[Judge]:
        """Open a judge that asks only what the response cache does not hold.

        Args:
            free: see `ResponseCache`.
            trial: see `rlaif.judges.build.open_judge`.

        Raises:
            UserError: an endpoint's key is not in the environment, or a judge file lacks the prices that the cost limit
                needs.
            WorkError: what the judge asks cannot answer.
        """
        spending = limited_spending([spec], self._serving.max_cost, name=self._serving.limit)
        with closing(ResponseCache(free=free)) as cache:
            async with open_judge(spec, self, spending=spending, cache=cache, trial=trial) as judge:
                yield judge

    async def _start(self) -> None:
        from rlaif.cluster.ray_cluster import ray_cluster, uses_gpus

        settings = self._serving.settings
        self._progress.say("starting engines")
        self._opened.enter_context(ray_cluster(self._serving.address, self._serving.verbose))
        gpu = uses_gpus(settings.cluster.device)
        specs = [self._spec(name, gpu) for name in self.served]
        pools = Pools(specs, settings.cluster, gpu=gpu, attempts=settings.sampling.attempts, emit=self._emit)
        self._opened.push_async_callback(pools.release)
        await pools.start()
        self._pools = dict(zip(self.served, pools.pools, strict=True))

    def _spec(self, name: str, gpu: bool) -> EngineSpec:
        context = context_within(self._sources[name].folder, self._context)
        return EngineSpec(
            role="judge",
            model=self.served[name],
            revision=self._revision(name),
            base_id=self._sources[name].identity,
            section=self._serving.settings.cluster.judge,
            dtype=self._serving.settings.policy.dtype,
            context=context,
            max_length=context,
            gpu=gpu,
        )

    def _revision(self, name: str) -> str | None:
        return self._serving.settings.policy.revision if name == "policy" else None

    def _emit(self, event: AnyEvent) -> None:
        if event.notice is not None:
            self._progress.say(event.notice)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One model of a session; see `rlaif.inference.requests.ModelBackend`.

    Attributes:
        identity: names the weights that answer: their sha256, or a hub's model and commit.
    """

    identity: str
    _name: str
    _session: JudgeSession = field(repr=False)

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """See `ModelBackend`."""
        return await (await self._session.pool(self._name)).choices(requests)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """See `ModelBackend`."""
        return await (await self._session.pool(self._name)).chats(requests)


def _own_tokens(leaf: JudgeSpec) -> int:
    """Return the most tokens that a judge adds to what it is shown: its files, as bytes, and its answer."""
    return sum(path.stat().st_size for _, path in leaf.files) + leaf.answer_tokens + _SPARE


class _Source(NamedTuple):
    folder: str
    """Local folder that holds the model's config."""
    identity: str
    """Name of its weights."""


def _find_source(model: str, revision: str | None) -> _Source:
    """Find a model without fetching the weights of one on a hub."""
    if model == BUILTIN or Path(model).is_dir() or find_adapter(model, revision) is not None:
        folder = resolve_model(model, revision)
        return _Source(folder, weights_id(folder))
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot = Path(hf_hub_download(model, "config.json", revision=revision)).parent
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(f"{model}: could not read config.json: {first_line(error)}") from None
    # The hub's client keeps each commit of a model in a folder of that name.
    return _Source(str(snapshot), f"{model}@{snapshot.name}")
