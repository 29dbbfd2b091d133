"""The policy gradients that each worker runs: GRPO, RLOO and PPO."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rlaif.errors import WorkError
from rlaif.recipe import PolicyGradientSection, PpoSection, RlooSection
from rlaif.training.group_training import GroupTrainingResult, load_on_groups, train_on_groups
from rlaif.training.groups import plan_packs, plan_steps
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.policy_gradient.old_policy import settle_old_policy
from rlaif.training.policy_gradient.returns import explained, with_advantages
from rlaif.training.policy_gradient.rollouts import read_rollouts

_COLUMNS = [
    "rollout_id", "prompt_id", "prompt_token_ids", "token_ids", "logprobs", "reward", "truncated", "policy",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyGradientResult(GroupTrainingResult):
    """See `GroupTrainingResult`.

    Attributes:
        reward: mean over all answers with one.
        unscored: answers without a reward, by the judge or because they were cut.
        alike: groups left out because all of their answers earned the same.
        old_logps: where the log-probabilities before the training come from; see `OldPolicy.origin`.
        mismatch, mismatch_bias, mismatch_p99: see `TokenMismatch`; None where there was nothing to compare.
        explained_variance: of the returns by the value head's values before the training; None without a head.
    """

    unit = "answers"

    reward: float
    unscored: int
    alike: int
    old_logps: str
    mismatch: float | None
    mismatch_bias: float | None
    mismatch_p99: float | None
    explained_variance: float | None


def train_policy_gradient(job: TrainingJob[Any], worker: Worker) -> PolicyGradientResult:
    """Train and save a policy on the answers of `rollouts.parquet`; every worker calls, the first writes.

    Raises:
        WorkError: no group is left to learn from, or the workers shard a model with a value head.
    """
    from rlaif.store.shards import read_table
    from rlaif.training.policy_gradient.trainer import step_weights

    settings: PolicyGradientSection = job.settings
    ppo = isinstance(settings, PpoSection)
    if ppo and job.sharded:
        raise WorkError("ppo trains a value head beside the policy; expected cluster.training.strategy: ddp")
    rows = read_table(job.rows, columns=_COLUMNS).to_pylist()
    rollouts = read_rollouts(rows, settings.truncated, compared=not ppo)
    if not rollouts.groups:
        raise WorkError(
            f"no group teaches anything: {rollouts.unscored} answers without a reward, {rollouts.alike} groups whose "
            "answers earned the same; expected answers with different rewards"
        )
    loaded = load_on_groups(job, rollouts.groups)
    head = _value_head(loaded.model, job) if ppo else None
    old = settle_old_policy(loaded.groups, loaded.model, loaded.base, job, values=ppo)
    groups = with_advantages(old.groups, settings)
    sizes = [1] * len(groups)
    steps = plan_steps(sizes, epochs=settings.epochs, per_step=settings.questions_per_step, seed=job.seed)
    weights = step_weights(groups, steps, settings)
    plan = plan_packs(groups, steps, weights, max_tokens=settings.max_tokens_per_pack, workers=worker.count)
    found = old.mismatch
    return train_on_groups(
        job,
        worker,
        replace(loaded, groups=groups),
        plan,
        trainer=_trainer(settings, job.temperature, head),
        result=partial(
            PolicyGradientResult,
            reward=rollouts.reward,
            unscored=rollouts.unscored,
            alike=rollouts.alike,
            old_logps=old.origin,
            mismatch=found.mean if found else None,
            mismatch_bias=found.bias if found else None,
            mismatch_p99=found.p99 if found else None,
            explained_variance=explained(groups) if ppo else None,
        ),
        units=sum(len(group.candidates) for group in groups),
    )


def _value_head(model: Any, job: TrainingJob[Any]) -> Any:
    """Give the model a value head: that of the training before, if it goes on."""
    import tempfile

    from rlaif.training.carried_state import fetch_state
    from rlaif.training.policy_gradient.ppo_trainer import load_head
    from rlaif.training.policy_gradient.value_head import add_value_head

    head = add_value_head(model)
    if job.state_in is not None:
        with tempfile.TemporaryDirectory() as scratch:
            load_head(head, fetch_state(job.state_in, scratch))
    return head


def _trainer(settings: PolicyGradientSection, temperature: float, head: Any) -> Any:
    from rlaif.training.policy_gradient.ppo_trainer import GroupPPOTrainer
    from rlaif.training.policy_gradient.trainer import GroupGRPOTrainer, GroupRLOOTrainer

    if isinstance(settings, PpoSection):
        return partial(GroupPPOTrainer, section=settings, temperature=temperature, head=head)
    kind = GroupRLOOTrainer if isinstance(settings, RlooSection) else GroupGRPOTrainer
    return partial(kind, section=settings, temperature=temperature)
