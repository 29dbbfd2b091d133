"""The DPO training that each worker runs.

Invariant: the policy's folder is complete before its hashes are reported, and the saved weights are those that the
probe was computed with.
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rlaif.recipe import TrainingSection
from rlaif.store.policy_weights import Probe
from rlaif.training.dpo.probe import ProbeRecorder
from rlaif.training.groups import group_pairs, plan_training
from rlaif.training.job import TrainingJob, TrainingResult, Worker

_COLUMNS = [
    "pair_id", "prompt_token_ids", "chosen_token_ids", "rejected_token_ids", "ref_chosen_logp", "ref_rejected_logp",
    "policy", "margin", "source",
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of all packs.

    Attributes:
        policy_id: sha256 of the trained weights.
        probe: log-probabilities that engines must reproduce.
        groups: prompts, each with all its candidates.
        loss: mean loss of the last step.
        reference: where the reference log-probabilities came from; see `Reference.origin`.
        mismatch, mismatch_bias, mismatch_margin: see `Mismatch`, measured before the first update; None without
            log-probabilities of an engine to compare.
        attention: how a candidate is separated from others; see `Attention.kind`.
        unpacked: why each candidate was read after a prompt of its own; "" where the prompt was read once.
    """

    policy_id: str
    pairs: int
    probe: Probe
    groups: int
    loss: float
    reference: str
    mismatch: float | None
    mismatch_bias: float | None
    mismatch_margin: float | None
    attention: str
    unpacked: str


def train_dpo(job: TrainingJob[TrainingSection], worker: Worker) -> DpoResult:
    """Train and save a policy; every worker calls, the first writes."""
    from transformers import AutoTokenizer, set_seed

    from rlaif.models.merge import tokenizer_folder
    from rlaif.models.resolve import resolve_model
    from rlaif.store.shards import read_table
    from rlaif.training.dpo.reference_policy import settle_reference
    from rlaif.training.dpo.trainer import GroupDPOTrainer
    from rlaif.training.kernels.self_check import settle_attention
    from rlaif.training.models import initial_adapter, load_policy, save_model
    from rlaif.training.trainer import Checkpoints, StepLog, fit, pack_arguments, step_entries

    settings = job.settings
    set_seed(job.seed)
    base = resolve_model(job.start.base, job.start.revision)
    groups = group_pairs(read_table(job.rows, columns=_COLUMNS).to_pylist(), partial(_weight, settings))
    model = load_policy(job.start, base, settings.lora, gpu=job.gpu, sharded=job.sharded)
    attention = settle_attention(model, groups, gpu=job.gpu, sharded=job.sharded)
    groups = [replace(group, packed=attention.kind != "alone") for group in groups]
    reference = settle_reference(groups, model, base, job)
    groups = reference.groups
    plan = plan_training(
        groups,
        epochs=settings.epochs,
        groups_per_step=settings.questions_per_step,
        max_tokens=settings.max_tokens_per_pack,
        workers=worker.count,
        seed=job.seed,
    )
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(base, initial_adapter(job.start)))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(job.checkpoints, scratch, worker.rank, sharded=job.sharded)
        trainer = GroupDPOTrainer(
            model, args=pack_arguments(job, plan, checkpoints.folder), processing_class=tokenizer, groups=groups,
            plan=plan, settings=settings, callbacks=[StepLog(worker), checkpoints],
        )  # fmt: skip
        recorder = ProbeRecorder(trainer, groups)
        seconds = fit(trainer, checkpoints.last())
        probe = recorder.probe()
        trained = Path(scratch) / "policy"
        trainer.save_model(str(trained))
        files, policy_id = save_model(trained, tokenizer, job.out) if worker.rank == 0 else ({}, "")
    log = step_entries(trainer)
    return DpoResult(
        policy_id=policy_id,
        files=files,
        probe=probe,
        steps=plan.steps,
        pairs=sum(len(group.pairs) for group in groups),
        groups=len(groups),
        tokens=sum(groups[index].tokens for pack in plan.packs for index in pack.groups),
        seconds=seconds,
        loss=log[-1]["loss"] if log else 0.0,
        reference=reference.origin,
        mismatch=reference.mismatch.mean if reference.mismatch else None,
        mismatch_bias=reference.mismatch.bias if reference.mismatch else None,
        mismatch_margin=reference.mismatch.margin_p99 if reference.mismatch else None,
        attention=attention.kind,
        unpacked=attention.reason,
        log=log,
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
