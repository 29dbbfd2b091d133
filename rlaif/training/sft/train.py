"""The supervised fine-tuning that each worker runs.

Invariant: the policy's folder is complete before its hashes are reported.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlaif.recipe import SftSection
from rlaif.training.common_beginnings import group_by_beginning
from rlaif.training.groups import Group, plan_packs, plan_steps
from rlaif.training.job import TrainingJob, TrainingResult, Worker
from rlaif.training.sft.encode import LearnedSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class SftResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of all packs.

    Attributes:
        policy_id: sha256 of the trained weights.
        demonstrations: sequences that were learned.
        groups: beginnings that sequences had in common, each computed once for all of its sequences.
        learned_tokens: tokens with a loss, of one pass over the demonstrations.
        loss: mean negative log-likelihood of a token in the last step, in nats.
        attention, unpacked: see `DpoResult`.
    """

    policy_id: str
    demonstrations: int
    groups: int
    learned_tokens: int
    loss: float
    attention: str
    unpacked: str


def train_sft(job: TrainingJob[SftSection], worker: Worker) -> SftResult:
    """Train and save a policy; every worker calls, the first writes."""
    from transformers import AutoTokenizer, set_seed

    from rlaif.models.merge import tokenizer_folder
    from rlaif.models.resolve import resolve_model
    from rlaif.store.shards import read_table
    from rlaif.training.kernels.self_check import settle_attention
    from rlaif.training.models import initial_adapter, load_policy, save_model
    from rlaif.training.sft.trainer import GroupSFTTrainer
    from rlaif.training.trainer import Checkpoints, StepLog, fit, pack_arguments, step_entries

    settings = job.settings
    set_seed(job.seed)
    base = resolve_model(job.start.base, job.start.revision)
    sequences = [stored_sequence(row) for row in read_table(job.rows).to_pylist()]
    groups = group_demonstrations(sequences, settings)
    model = load_policy(job.start, base, settings.lora, gpu=job.gpu, sharded=job.sharded)
    attention = settle_attention(model, groups, gpu=job.gpu, sharded=job.sharded)
    groups = [replace(group, packed=attention.kind != "alone") for group in groups]
    sizes = [len(group.candidates) for group in groups]
    steps = plan_steps(sizes, epochs=settings.epochs, per_step=settings.demonstrations_per_step, seed=job.seed)
    learned = [group.counted_tokens for group in groups]
    weights = [float(sum(learned[index] for index in step)) for step in steps]
    plan = plan_packs(groups, steps, weights, max_tokens=settings.max_tokens_per_pack, workers=worker.count)
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder(base, initial_adapter(job.start)))
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(job.checkpoints, scratch, worker.rank, sharded=job.sharded)
        trainer = GroupSFTTrainer(
            model, args=pack_arguments(job, plan, checkpoints.folder), processing_class=tokenizer, groups=groups,
            plan=plan, callbacks=[StepLog(worker), checkpoints],
        )  # fmt: skip
        seconds = fit(trainer, checkpoints.last())
        trained = Path(scratch) / "policy"
        trainer.save_model(str(trained))
        files, policy_id = save_model(trained, tokenizer, job.out) if worker.rank == 0 else ({}, "")
    log = step_entries(trainer)
    return SftResult(
        policy_id=policy_id,
        files=files,
        steps=plan.steps,
        demonstrations=len(sequences),
        groups=len(groups),
        learned_tokens=sum(learned),
        tokens=sum(groups[index].tokens for pack in plan.packs for index in pack.groups),
        seconds=seconds,
        loss=log[-1]["loss"] if log else 0.0,
        attention=attention.kind,
        unpacked=attention.reason,
        log=log,
    )


def group_demonstrations(sequences: Sequence[LearnedSequence], settings: SftSection) -> list[Group]:
    """Return the groups of a training: at most half of a step has one beginning, so that no step is of one document."""
    most = max(1, settings.demonstrations_per_step // 2)
    return group_by_beginning(sequences, most=most, max_tokens=settings.max_tokens_per_pack)


def stored_sequence(row: Mapping[str, Any]) -> LearnedSequence:
    """Return a sequence from its row of a table."""
    spans = zip(row["starts"], row["ends"], strict=True)
    return LearnedSequence(row["id"], tuple(row["token_ids"]), tuple(spans))


def sequence_row(sequence: LearnedSequence) -> dict[str, Any]:
    """Return a sequence as a row of a table."""
    starts, ends = zip(*sequence.learned, strict=True)
    return {"id": sequence.id, "token_ids": list(sequence.token_ids), "starts": list(starts), "ends": list(ends)}
