"""The supervised fine-tuning that each worker runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlaif.recipe import SftSection
from rlaif.training.common_beginnings import group_by_beginning
from rlaif.training.group_training import GroupTrainingResult, load_on_groups, train_on_groups
from rlaif.training.groups import Group, plan_packs, plan_steps
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.sft.encode import LearnedSequence


@dataclass(frozen=True, slots=True, kw_only=True)
class SftResult(GroupTrainingResult):
    """See `GroupTrainingResult`; the units are sequences, and the loss is a token's negative log-likelihood, in nats.

    Attributes:
        learned_tokens: tokens with a loss, of one pass over the demonstrations.
    """

    unit = "demonstrations"
    shared = "beginnings"

    learned_tokens: int


def train_sft(job: TrainingJob[SftSection], worker: Worker) -> SftResult:
    """Train and save a policy; every worker calls, the first writes."""
    from rlaif.store.shards import read_table
    from rlaif.training.sft.trainer import GroupSFTTrainer

    settings = job.settings
    sequences = [stored_sequence(row) for row in read_table(job.rows).to_pylist()]
    loaded = load_on_groups(job, group_demonstrations(sequences, settings))
    groups = loaded.groups
    sizes = [len(group.candidates) for group in groups]
    steps = plan_steps(sizes, epochs=settings.epochs, per_step=settings.demonstrations_per_step, seed=job.seed)
    learned = [group.counted_tokens for group in groups]
    weights = [float(sum(learned[index] for index in step)) for step in steps]
    plan = plan_packs(groups, steps, weights, max_tokens=settings.max_tokens_per_pack, workers=worker.count)
    result = partial(SftResult, learned_tokens=sum(learned))
    return train_on_groups(job, worker, loaded, plan, trainer=GroupSFTTrainer, result=result, units=len(sequences))


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
