"""Which engine pools a run needs, and which of them serve policy and judge at once.

A judge that is asked in the name of the initial policy shares the policy's engines as long as their base model stays
what it was: with an adapter the base answers for the judge and the adapter for the policy. With full weights the
engines' model changes every round, so such a judge gets engines of its own that keep the initial weights.
"""

from collections.abc import Iterable

from rlaif.cluster.placement import engines_held, engines_need, training_need
from rlaif.cluster.shortage import Need, Patience, Shortage
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.pool import EnginePool, Terms
from rlaif.models.context import model_context
from rlaif.recipe import EnginesSection, Recipe
from rlaif.store.events import Emit

# Room for the rubric of a judge's prompt, in tokens, beside the question's context and two answers.
_RUBRIC = 768
_WORKERS = "the training workers"


def judge_context(recipe: Recipe, answer_tokens: int = 1) -> int:
    """Return the longest sequence of a judge in tokens: two answers, and its own of up to `answer_tokens`."""
    return recipe.policy.max_length + 2 * recipe.sampling.max_tokens + _RUBRIC + answer_tokens - 1


class Pools:
    """All engine pools of a run.

    Args:
        recipe: the run's recipe.
        judge_models: models that the judge asks; `policy` is the initial policy.
        policy_id: id of the initial policy's weights.
        gpu: whether engines run on GPUs.
        emit: takes events.
        judge_tokens: longest answer of a judge, in tokens.
    """

    def __init__(
        self,
        recipe: Recipe,
        judge_models: Iterable[str],
        policy_id: str,
        gpu: bool,
        emit: Emit,
        judge_tokens: int = 1,
    ) -> None:
        self._recipe, self._gpu, self._emit, self._judge_tokens = recipe, gpu, emit, judge_tokens
        judge_models = sorted(judge_models)
        shared = "policy" in judge_models and recipe.training.lora is not None
        cluster = recipe.cluster
        self._shortage = Shortage.of(cluster, emit)
        own_judges = len(judge_models) - shared
        self._sections = [cluster.policy, *([cluster.judge] * own_judges)]
        self.policy = self._pool(
            recipe.policy.model, recipe.policy.revision, cluster.policy, policy_id, "policy", shared
        )
        self._judges: dict[str, EnginePool] = {}
        for model in judge_models:
            if model == "policy" and shared:
                self._judges[model] = self.policy
            elif model == "policy":
                name, revision = recipe.policy.model, recipe.policy.revision
                self._judges[model] = self._pool(name, revision, cluster.judge, policy_id, "judge", True)
            else:
                self._judges[model] = self._pool(model, None, cluster.judge, model, "judge", True)

    def _pool(
        self, model: str, revision: str | None, section: EnginesSection, base_id: str, role: str, judges: bool
    ) -> EnginePool:
        recipe = self._recipe
        context = judge_context(recipe, self._judge_tokens) if judges else recipe.policy.max_length
        spec = EngineSpec(
            model=model,
            revision=revision,
            section=section,
            dtype=recipe.policy.dtype,
            context=min(context, model_context(model) or context),
            max_length=recipe.policy.max_length,
            gpu=self._gpu,
            lora_rank=recipe.training.lora.rank if recipe.training.lora and role == "policy" else None,
            probe_tolerance=recipe.training.probe_tolerance,
        )
        terms = Terms(recipe.cluster.placement, recipe.sampling.attempts, self._engines_time, self._shortage)
        return EnginePool(spec, base_id, "policy" if role == "policy" else "judge", terms, self._emit)

    @property
    def _own_judges(self) -> list[EnginePool]:
        return [pool for pool in self._judges.values() if pool is not self.policy]

    def vllm(self, model: str) -> EnginePool:
        """Return the pool that answers for a judge's model; see `rlaif.judges.judge.Backends`."""
        return self._judges[model]

    @property
    def _engines_time(self) -> Need:
        """What the cluster needs while engines work: in a split placement the training keeps its own beside them."""
        cluster = self._recipe.cluster
        need = engines_need(self._sections, self._gpu, cluster.placement)
        return need + training_need(cluster, self._gpu) if cluster.placement == "split" else need

    async def start(self, judges: bool) -> None:
        """Start the policy's engines, and the judge's own where they are wanted.

        Raises:
            WorkError: the resources do not come, or an engine does not start.
        """
        if not self.policy.running:
            await self._shortage.wait_for(self._engines_time, "the engines")
        engines = self._room()
        await self.policy.start(engines[0])
        if judges:
            for pool, count in zip(self._own_judges, engines[1:], strict=True):
                await pool.start(count)

    def _room(self) -> list[int]:
        """Return how many engines of each pool the cluster holds as it is."""
        cluster = self._recipe.cluster
        workers = cluster.training.workers if cluster.placement == "split" else 0
        return engines_held(self._sections, self._gpu, cluster.placement, self._engines_time, workers)

    @property
    def beside_training(self) -> bool:
        """Whether engines and training workers may be there at once; on shared GPUs they take turns."""
        return not self._gpu or self._recipe.cluster.placement == "split"

    async def make_room(self) -> None:
        """Before a training: wait for its resources, and on shared GPUs give it the engines'."""
        if not self.beside_training:
            for pool in (self.policy, *self._own_judges):
                await pool.release()
        await self._shortage.wait_for(self._training_time, _WORKERS)

    def patience_with_training(self) -> Patience:
        """Return what to look at while a training gives no sign."""
        return self._shortage.patience(self._training_time, _WORKERS)

    @property
    def _training_time(self) -> Need:
        """What the cluster needs while workers train: in a split placement the engines keep their own beside them."""
        cluster = self._recipe.cluster
        need = training_need(cluster, self._gpu)
        return need + engines_need(self._sections, self._gpu, "split") if cluster.placement == "split" else need

    async def release(self) -> None:
        """Give everything back."""
        for pool in (self.policy, *self._own_judges):
            await pool.release()
