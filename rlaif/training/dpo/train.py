"""The DPO training that each worker runs."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rlaif.recipe import TrainingSection
from rlaif.training.group_training import GroupTrainingResult, load_on_groups, train_on_groups
from rlaif.training.groups import group_pairs, plan_training
from rlaif.training.job import TrainingJob, Worker

_COLUMNS = [
    "pair_id", "prompt_token_ids", "chosen_token_ids", "rejected_token_ids", "ref_chosen_logp", "ref_rejected_logp",
    "policy", "margin", "source",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoResult(GroupTrainingResult):
    """See `GroupTrainingResult`.

    Attributes:
        reference: where the reference log-probabilities came from; see `Reference.origin`.
        mismatch, mismatch_bias, mismatch_margin: see `Mismatch`, measured before the first update; None without
            log-probabilities of an engine to compare.
    """

    unit = "pairs"

    reference: str
    mismatch: float | None
    mismatch_bias: float | None
    mismatch_margin: float | None


def train_dpo(job: TrainingJob[TrainingSection], worker: Worker) -> DpoResult:
    """Train and save a policy; every worker calls, the first writes."""
    from rlaif.store.shards import read_table
    from rlaif.training.dpo.reference_policy import settle_reference
    from rlaif.training.dpo.trainer import GroupDPOTrainer

    settings = job.settings
    groups = group_pairs(read_table(job.rows, columns=_COLUMNS).to_pylist(), partial(_weight, settings))
    loaded = load_on_groups(job, groups)
    reference = settle_reference(loaded.groups, loaded.model, loaded.base, job)
    loaded = replace(loaded, groups=reference.groups)
    plan = plan_training(
        loaded.groups,
        epochs=settings.epochs,
        groups_per_step=settings.questions_per_step,
        max_tokens=settings.max_tokens_per_pack,
        workers=worker.count,
        seed=job.seed,
    )
    found = reference.mismatch
    return train_on_groups(
        job,
        worker,
        loaded,
        plan,
        trainer=partial(GroupDPOTrainer, settings=settings),
        result=partial(
            DpoResult,
            reference=reference.origin,
            mismatch=found.mean if found else None,
            mismatch_bias=found.bias if found else None,
            mismatch_margin=found.margin_p99 if found else None,
        ),
        units=sum(len(group.pairs) for group in groups),
    )


def _weight(training: TrainingSection, row: Mapping[str, Any]) -> float:
    """Return the weight of a pair, relative to the other pairs of the training.

    With `weights: margin` it is the pair's margin, at most 1: |2p - 1| for a judge's preference p, the difference of
    the probabilities that it gives the two answers, or a difference of scores. A pair that a judge is unsure of so
    moves the policy little. A person's pair has `human_weight`, whatever its margin.
    """
    if row["source"] == "human":
        return training.human_weight
    if training.weights == "margin" and row["margin"] is not None:
        return min(1.0, float(row["margin"]))
    return 1.0
