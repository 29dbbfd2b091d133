"""One engine in one Ray actor.

Invariant: an actor whose engine has failed exits, so that the pool sees every loss of an engine in the same way.
"""

import asyncio
import os
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from rlaif.inference.requests import (
    ChatReply,
    ChatRequest,
    ChoiceReply,
    ChoiceRequest,
    SampleReply,
    SampleRequest,
    ScoreRequest,
)
from rlaif.recipe import EnginesSection
from rlaif.store.events import EngineRole
from rlaif.store.policy_weights import PolicyWeights

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an engine is made of, wherever it runs.

    Attributes:
        role: the pool's, for events and messages.
        model, revision: as in the recipe; each node resolves them for itself.
        base_id: id of the model's weights.
        section: the pool's section of the recipe.
        dtype: the recipe's `policy.dtype`.
        context: longest sequence that the engine takes, in tokens.
        max_length: longest prompt and answer together when the policy samples; at most `context`.
        gpu: whether it runs on GPUs.
        lora_rank: rank of the adapters to come, or None for an engine without adapters.
        probe_tolerance: largest difference in a probe's log-probabilities; None takes one that fits the dtype.
    """

    role: EngineRole
    model: str
    revision: str | None = None
    base_id: str
    section: EnginesSection
    dtype: str
    context: int
    max_length: int
    gpu: bool
    lora_rank: int | None = None
    probe_tolerance: float | None = None


class EngineActor:
    """A Ray actor around a `VllmEngine`; the pool, which knows its resources, makes it remote.

    Args:
        spec: what to load.
        engines_on_node: engines that share a CPU node's cores and memory.
    """

    def __init__(self, spec: EngineSpec, engines_on_node: int) -> None:
        from rlaif.inference.vllm.device import cpu_threads, engine_options, lora_options
        from rlaif.models.dtype import weights_dtype

        if not spec.gpu:
            # Before torch is imported: Ray has set this to the CPUs that the actor reserves.
            os.environ["OMP_NUM_THREADS"] = str(cpu_threads(spec.section, engines_on_node))
        from rlaif.inference.vllm.engine import VllmEngine
        from rlaif.models.resolve import resolve_model

        options = engine_options(spec.section, spec.gpu, spec.dtype, spec.context, engines_on_node=engines_on_node)
        if spec.lora_rank is not None:
            options |= lora_options(spec.lora_rank)
        if spec.gpu and spec.section.tensor_parallel > 1:
            options["distributed_executor_backend"] = "ray"
        tolerance = spec.probe_tolerance
        if tolerance is None:
            tolerance = 0.02 if weights_dtype(spec.dtype, spec.gpu) == "float32" else 0.25
        self._engine = VllmEngine(
            resolve_model(spec.model, spec.revision),
            options,
            PolicyWeights(spec.base_id, "base"),
            probe_tolerance=tolerance,
            max_length=spec.max_length,
        )

    async def ready(self) -> int:
        """Return the process id once the engine can answer."""
        return os.getpid()

    async def sample(self, request: SampleRequest) -> SampleReply:
        """See `VllmEngine.sample`."""
        return await self._answer(self._engine.sample(request))

    async def choose(self, requests: list[ChoiceRequest]) -> list[ChoiceReply]:
        """Answer all choice requests on one question, in order; see `VllmEngine.choose`.

        vLLM schedules them in this order, and puts a request's blocks into the prefix cache when it schedules it. So
        those behind the first find what they share with it, even in the step that computes it
        (`benchmarks/judging.py`).
        """
        return [await self._answer(future) for future in [self._engine.choose(request) for request in requests]]

    async def chat(self, requests: list[ChatRequest]) -> list[ChatReply]:
        """Answer all chat requests on one question, in order; see `VllmEngine.chat`."""
        return [await self._answer(future) for future in [self._engine.chat(request) for request in requests]]

    async def score(self, request: ScoreRequest) -> list[float]:
        """See `VllmEngine.score`."""
        return await self._answer(self._engine.score(request))

    async def update(self, policy: PolicyWeights) -> float:
        """Load new weights, fetching them to this node first; see `WeightLoader.load`."""
        from rlaif.io.files import local_folder

        folder = local_folder(policy.folder, policy.id) if policy.folder else ""
        return await self._answer(self._engine.update(policy, folder))

    async def _answer(self, future: "Future[T]") -> T:
        try:
            return await asyncio.wrap_future(future)
        except Exception:
            if not self._engine.alive:
                # The actor's log says why the engine died.
                os._exit(1)
            raise


def remote_engine(options: dict[str, Any]) -> Any:
    """Return the actor class with Ray's options: resources, placement and environment."""
    import ray

    return ray.remote(EngineActor).options(max_concurrency=4096, max_restarts=0, **options)
