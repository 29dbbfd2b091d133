"""Makes judges from their specs, and closes the connections that they open."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from rlaif.inference.openai_server import OpenAIServer, Spending
from rlaif.inference.requests import Backends, ModelBackend
from rlaif.inference.response_cache import CachedBackend, ResponseCache
from rlaif.judges.first_to_decide import FirstToDecide
from rlaif.judges.judge import Judge
from rlaif.judges.llm import LlmSpec
from rlaif.judges.model_client import model_client
from rlaif.judges.pairwise import PairwiseJudge
from rlaif.judges.panel import PanelSpec
from rlaif.judges.pointwise import PointwiseJudge
from rlaif.judges.reference import ReferenceJudge, ReferenceSpec
from rlaif.judges.reward_model import RewardModelJudge, RewardModelSpec
from rlaif.judges.reward_scores import RewardModel
from rlaif.judges.spec import JudgeSpec
from rlaif.judges.vote import Vote
from rlaif.recipe.backend import OpenAIBackend


def build_judge(
    spec: JudgeSpec, backends: Backends, *, spending: Spending | None = None, cache: ResponseCache | None = None
) -> Judge:
    """Return the judge of a spec.

    Args:
        spec: of `load_judge_file`.
        backends: serves the models of our own engines.
        spending: counts what endpoints charge, and stops at the limit.
        cache: answers repeated requests; None sends every request.

    Raises:
        UserError: an endpoint's key is not in the environment.
    """
    return _Builder(backends, spending or Spending(), cache, AsyncExitStack()).build(spec)


@asynccontextmanager
async def open_judge(
    spec: JudgeSpec, backends: Backends, *, spending: Spending | None = None, cache: ResponseCache | None = None
) -> AsyncIterator[Judge]:
    """Open the judge of a spec for a block, and close its connections at the end; see `build_judge`."""
    async with AsyncExitStack() as opened:
        yield _Builder(backends, spending or Spending(), cache, opened).build(spec)


@dataclass(frozen=True, slots=True)
class _Builder:
    """Makes judges from their specs.

    Attributes:
        opened: closes the backends of the judges, the last one first.
    """

    backends: Backends
    spending: Spending
    cache: ResponseCache | None
    opened: AsyncExitStack

    def build(self, spec: JudgeSpec) -> Judge:
        match spec:
            case ReferenceSpec():
                return ReferenceJudge(spec)
            case RewardModelSpec():
                return RewardModelJudge(spec, RewardModel(spec.model, spec.batch_size, spec.device))
            case LlmSpec():
                client = model_client(spec, self._backend(spec))
                return PairwiseJudge(spec, client) if spec.pairwise else PointwiseJudge(spec, client)
            case PanelSpec():
                members = tuple(map(self.build, spec.members))
                return FirstToDecide(spec, members) if spec.mode == "first-to-decide" else Vote(spec, members)
        raise TypeError(f"{spec.name}: no judge for a {type(spec).__name__}")

    def _backend(self, spec: LlmSpec) -> ModelBackend:
        if isinstance(spec.backend, OpenAIBackend):
            server = OpenAIServer(spec.backend, self.spending)
            self.opened.push_async_callback(server.close)
            if self.cache is None:
                return server
            cached = CachedBackend(server, self.cache, together=False)
            self.opened.push_async_callback(cached.close)
            return cached
        backend = self.backends.vllm(spec.model)
        if self.cache is None or not backend.identity:
            # Weights without a name may be others tomorrow.
            return backend
        return CachedBackend(backend, self.cache, together=True)
