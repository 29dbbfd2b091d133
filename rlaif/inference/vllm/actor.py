"""One engine in one Ray actor: what it is made of, and the options that are fast on the hardware at hand.

On a CPU without bf16 units, float32 on all cores is seven times faster than vLLM's defaults, and torch.compile costs
two minutes and gains nothing; on a GPU vLLM's own defaults are right.

Invariant: an actor whose engine has failed exits, so that the pool sees every loss of an engine in the same way.
"""

import asyncio
import os
import traceback
from concurrent.futures import Future
from dataclasses import dataclass, field
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
from rlaif.inference.vllm.probe import DEFAULT_LIMITS, ProbeResult
from rlaif.models.dtype import weights_dtype
from rlaif.recipe import EnginesSection
from rlaif.store.events import EngineRole
from rlaif.store.policy_weights import PolicyWeights

T = TypeVar("T")

_GIB = 1 << 30
# Ranks that vLLM allocates.
_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """What an engine is made of, wherever it runs.

    Attributes:
        model, revision: each node resolves them for itself.
        base_id: id of the weights that it starts with.
        adapter, adapter_revision: the initial policy's adapter on the model, as a folder or a hub id; "" without one.
        dtype: the recipe's `policy.dtype`.
        context: longest sequence that the engine takes, in tokens.
        max_length: longest prompt and answer together when the policy samples; at most `context`.
        lora_rank: of the adapters to come; None for an engine without adapters.
        max_probe_difference: see `check_probe`; None takes one that fits the dtype.
        chat_template_kwargs: arguments of the chat template when the policy samples.
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
    max_probe_difference: float | None = None
    adapter: str = ""
    adapter_revision: str | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict)


class EngineActor:
    """A Ray actor around a `VllmEngine`; the pool, which knows its resources, makes it remote."""

    def __init__(self, spec: EngineSpec, engines_on_node: int) -> None:
        if not spec.gpu:
            # Before torch is imported: Ray has set this to the CPUs that the actor reserves.
            os.environ["OMP_NUM_THREADS"] = str(cpu_threads(spec.section, engines_on_node))
        from rlaif.inference.vllm.engine import VllmEngine
        from rlaif.models.resolve import resolve_adapter, resolve_model

        adapter = resolve_adapter(spec.adapter, spec.adapter_revision) if spec.adapter else ""
        options = engine_options(spec.section, spec.gpu, spec.dtype, spec.context, engines_on_node=engines_on_node)
        if spec.lora_rank is not None:
            options |= lora_options(spec.lora_rank, adapters=2 if adapter else 1)
        if spec.gpu and spec.section.tensor_parallel > 1:
            options["distributed_executor_backend"] = "ray"
        limit = spec.max_probe_difference
        if limit is None:
            limit = DEFAULT_LIMITS[weights_dtype(spec.dtype, spec.gpu)]
        self._engine = VllmEngine(
            resolve_model(spec.model, spec.revision),
            options,
            PolicyWeights(spec.base_id, "base"),
            max_probe_difference=limit,
            max_length=spec.max_length,
            adapter=adapter,
            chat_template_kwargs=spec.chat_template_kwargs,
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

    async def score_initial(self, requests: list[ScoreRequest]) -> list[list[float]]:
        """See `VllmEngine.score_initial`. After an error nobody knows which weights the engine has, so it exits."""
        future = self._engine.score_initial(requests)
        try:
            return await self._answer(future)
        except Exception:
            traceback.print_exc()
            os._exit(1)

    async def update(self, policy: PolicyWeights) -> ProbeResult | None:
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


def engine_options(
    section: EnginesSection, gpu: bool, dtype: str, max_length: int, *, engines_on_node: int
) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM` that depend on the hardware.

    Args:
        dtype: the recipe's `policy.dtype`.
        max_length: longest prompt and answer together, in tokens.
        engines_on_node: engines that share this node's memory; matters on a CPU only.
    """
    options: dict[str, Any] = {
        "dtype": weights_dtype(dtype, gpu),
        "max_model_len": max_length,
        "max_num_seqs": section.max_num_seqs,
        "enforce_eager": section.eager if section.eager is not None else not gpu,
        "enable_prefix_caching": True,
        "tensor_parallel_size": section.tensor_parallel,
    }
    if gpu:
        options["gpu_memory_utilization"] = section.gpu_memory
    else:
        # vLLM's default is 128 tokens. Only whole blocks of the prefix cache are shared, so half of a short prompt
        # would be computed again for each of its candidates. The CPU kernels take multiples of 32; 32 is the fastest
        # (`benchmarks/judging.py`).
        options["block_size"] = 32
        # After each chunk of a prompt vLLM rewinds a seeded request's generator, which torch's CPU generator cannot do.
        options["enable_chunked_prefill"] = False
        options["max_num_batched_tokens"] = max(2048, max_length)
    if section.kv_cache_gib is not None:
        options["kv_cache_memory_bytes"] = int(section.kv_cache_gib * _GIB)
    elif not gpu:
        import psutil

        options["kv_cache_memory_bytes"] = cpu_kv_bytes(psutil.virtual_memory().available, engines_on_node)
    return options


def lora_options(rank: int, adapters: int = 1) -> dict[str, Any]:
    """Return the arguments of `vllm.LLM` for an engine that serves adapters of a rank beside its base model."""
    return {
        "enable_lora": True,
        "max_loras": adapters,
        "max_lora_rank": next(size for size in _LORA_RANKS if size >= rank),
    }


def cpu_kv_bytes(available: int, engines: int) -> int:
    """Return an engine's KV cache on a CPU: an eighth of the free memory, shared among engines, 256 MiB to 4 GiB.

    By default vLLM takes 92% of the machine's memory, which leaves none for the trainer.
    """
    return max(_GIB // 4, min(4 * _GIB, available // 8 // max(1, engines)))


def cpu_threads(section: EnginesSection, engines_on_node: int) -> int:
    """Return an engine's threads on a CPU: as the recipe says, or an even share of the node's cores."""
    return section.threads or max(1, len(os.sched_getaffinity(0)) // max(1, engines_on_node))
