"""Engine pools that share a Ray cluster, with each other and, in a run, with the training workers.

A run's judge that asks for the initial policy shares the policy's engines as long as their base model stays what it
was: with adapters the initial policy answers beside the current one. With full weights the engines'
model changes every round, so such a judge gets engines of its own that keep the initial weights.
"""

import asyncio
from collections.abc import Iterable, Sequence

from rlaif.cluster.resources import ClusterDemand, Resources, ResourceWait
from rlaif.errors import WorkError
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.models.policy_source import policy_source
from rlaif.models.shape import context_within
from rlaif.recipe import ClusterSection, PolicySection, SamplingSection, TrainingSection
from rlaif.store.events import Emit

# Room for the rubric of a judge's prompt, in tokens, beside the question's context and two candidates.
_RUBRIC = 768


class Pools:
    """Engine pools, one of each spec, and if `trains` the training workers, that share a cluster.

    Args:
        attempts: how often a request is tried.
    """

    def __init__(
        self,
        specs: Sequence[EngineSpec],
        cluster: ClusterSection,
        *,
        gpu: bool,
        attempts: int,
        emit: Emit,
        trains: bool = False,
    ) -> None:
        self.demand = ClusterDemand(cluster, gpu, tuple(spec.section for spec in specs), trains)
        self._emit = emit
        self.pools = [EnginePool(spec, self.demand, attempts=attempts, emit=emit) for spec in specs]

    async def start(self, pools: Sequence[EnginePool] | None = None) -> None:
        """Start the engines of some pools, or of all, where they are not running."""
        if not any(pool.running for pool in self.pools):
            await self._wait(self.demand.sampling, "the engines").until_there()
        engines = self.demand.engine_counts()
        try:
            async with asyncio.TaskGroup() as group:
                for pool, count in zip(self.pools, engines, strict=True):
                    if pools is None or pool in pools:
                        group.create_task(pool.start(count))
        except* WorkError as errors:
            raise errors.exceptions[0] from None

    async def make_room(self) -> None:
        """Before a training: wait for its resources, and on shared GPUs give it the engines'."""
        await self.idle()
        await self.training_wait().until_there()

    async def idle(self) -> None:
        """Give the engines of shared GPUs back while nothing is asked of them."""
        if self.demand.takes_turns:
            await self.release()

    def training_wait(self) -> ResourceWait:
        """Return the wait to look at while a training shows no progress."""
        return self._wait(self.demand.training, "the training workers")

    async def release(self) -> None:
        """Give all engines back."""
        for pool in self.pools:
            await pool.release()

    def _wait(self, resources: Resources, who: str) -> ResourceWait:
        return ResourceWait(self.demand.cluster, resources, who, self._emit)


class RunPools(Pools):
    """All engine pools of a run.

    Args:
        base_id: id of the initial policy's weights.
        judge_models: models that the judge asks; `policy` is the initial policy.
        judge_tokens: longest answer of a judge, in tokens.
        criteria_tokens: most tokens of a question's own criteria, where the judge is shown them.

    Attributes:
        policy: the pool that answers with the policy.
    """

    def __init__(
        self,
        policy: PolicySection,
        sampling: SamplingSection,
        training: TrainingSection,
        cluster: ClusterSection,
        *,
        base_id: str,
        judge_models: Iterable[str],
        judge_tokens: int,
        criteria_tokens: int = 0,
        gpu: bool,
        emit: Emit,
    ) -> None:
        models = sorted(judge_models)
        own = [model for model in models if model != "policy" or training.lora is None]
        context = judge_context(policy, sampling, judge_tokens) + criteria_tokens
        shared = context if len(own) < len(models) else 0
        specs = [policy_spec(policy, training, cluster, base_id=base_id, gpu=gpu, context=shared)]
        for model in own:
            name, revision = (policy.model, policy.revision) if model == "policy" else (model, None)
            within = context_within(name, context)
            specs.append(
                EngineSpec(
                    role="judge",
                    model=name,
                    revision=revision,
                    base_id=base_id if model == "policy" else model,
                    section=cluster.judge,
                    dtype=policy.dtype,
                    context=within,
                    max_length=within,
                    gpu=gpu,
                )
            )
        super().__init__(specs, cluster, gpu=gpu, attempts=sampling.attempts, emit=emit, trains=True)
        self.policy, *own_pools = self.pools
        self._judges = dict.fromkeys(models, self.policy) | dict(zip(own, own_pools, strict=True))

    def vllm(self, model: str) -> EnginePool:
        """Return the pool that answers for a judge's model; see `Backends`."""
        return self._judges[model]


def judge_context(policy: PolicySection, sampling: SamplingSection, answer_tokens: int = 1) -> int:
    """Return the longest sequence of a run's judge in tokens: two candidates, and its own answer."""
    return policy.max_length + 2 * sampling.max_tokens + _RUBRIC + answer_tokens - 1


def policy_spec(
    policy: PolicySection,
    training: TrainingSection,
    cluster: ClusterSection,
    *,
    base_id: str,
    gpu: bool,
    context: int = 0,
) -> EngineSpec:
    """Return what the policy's engines are made of.

    Args:
        base_id: id of the initial policy's weights.
        context: longest sequence that a judge asks them, in tokens; 0 where they serve no judge.
    """
    source = policy_source(policy, training.lora)
    return EngineSpec(
        role="policy",
        model=source.model,
        revision=source.revision,
        adapter=source.adapter,
        adapter_revision=source.adapter_revision,
        base_id=base_id,
        section=cluster.policy,
        dtype=policy.dtype,
        context=context_within(source.model, context or policy.max_length),
        max_length=policy.max_length,
        gpu=gpu,
        lora_rank=training.lora.rank if training.lora else None,
        max_probe_difference=training.max_probe_difference,
        chat_template_kwargs=policy.chat_template_kwargs,
    )
