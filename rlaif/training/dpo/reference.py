"""Reference log-probabilities: the engine's where they hold, the trainer's own where they do not or are missing.

Invariant: every pair that is trained on has a reference, and the result says where it came from. What the trainer
computes is one pass without gradients, each candidate once, shared out among the workers and stored beside the pairs.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.io.files import join, names
from rlaif.training.dpo.job import TrainingJob
from rlaif.training.groups import Group, with_reference

Origin = Literal["engine", "trainer", "stored"]

_STORED = "reference.parquet"
# Groups whose log-probabilities are computed again to see whether those of the engine hold: a tenth of them, within
# these bounds. On a CPU each costs as much as a third of training on it.
_FEWEST_SAMPLED, _MOST_SAMPLED = 4, 16
# Largest 99th percentile of the drift, in nats a token, by the precision that the engine samples in.
_MAX_DRIFT = {"float32": 0.02, "bfloat16": 0.25, "float16": 0.1}


@dataclass(frozen=True, slots=True)
class Drift:
    """How far the engine's log-probabilities lie from the trainer's, over the sampled candidates, in nats a token.

    Attributes:
        mean, p99: of |trainer - engine| / tokens of a candidate.
        candidates: how many were compared.
        limit: of the 99th percentile.
    """

    mean: float
    p99: float
    candidates: int
    limit: float

    @property
    def too_far(self) -> bool:
        """Whether the engine's are not to be trained against."""
        return not self.p99 <= self.limit


@dataclass(frozen=True, slots=True)
class Reference:
    """Groups that are ready to train on.

    Attributes:
        groups: with a reference for every pair.
        origin: `engine` as sampled, `trainer` computed now, `stored` computed by an earlier start of this training.
        drift: of the engine's, where they were there to compare.
    """

    groups: list[Group]
    origin: Origin
    drift: Drift | None


def settle_reference(groups: Sequence[Group], model: Any, base: str, job: TrainingJob) -> Reference:
    """Give every pair its reference. Every worker calls, and all get the same.

    Args:
        groups: what is to be trained on.
        model: the policy about to be trained, not trained yet.
        base: local folder of the initial policy.
        job: says which reference is wanted.
    """
    drift, wanted = None, list(groups)
    if job.training.reference == "previous":
        if _complete(groups):
            # What an earlier policy sampled, the engine alone can speak for.
            wanted = [group for group in groups if group.policy in ("", job.start_id)]
            drift = _measure_drift(wanted, model, job) if wanted else None
            if drift is None or not drift.too_far:
                return Reference(list(groups), "engine", drift)
        scored, off, name = model, nullcontext(), f"start {job.start_id or job.base}"
    elif job.training.lora is None:
        from rlaif.training.models import load_model

        scored, off, name = load_model(base, "float32", job.gpu), nullcontext(), f"initial {job.base}"
    else:
        scored, off, name = model, model.disable_adapter(), f"initial {job.base}"
    origin: Origin = "stored"
    if (found := _read(wanted, job, name)) is None:
        origin, found = "trainer", _score_together(scored, wanted, job, off)
        _write(found, job, name)
    # No group stands twice: its prompt and its policy tell it from all others.
    own = {(group.prompt_token_ids, group.policy): group for group in found}
    return Reference([own.get((g.prompt_token_ids, g.policy), g) for g in groups], origin, drift)


def score_groups(
    model: Any, groups: Sequence[Group], max_tokens: int, gpu: bool, context: AbstractContextManager[Any] | None = None
) -> list[list[float]]:
    """Return each candidate's summed log-probability, in nats, for each group.

    Args:
        model: a causal language model of `load_model`, with or without an adapter.
        groups: prompts with their candidates.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this worker's GPU.
        context: entered around the passes, such as an adapter switched off.
    """
    import torch

    from rlaif.training.kernels.attention import attention_of
    from rlaif.training.packing import pack_in_order
    from rlaif.training.shared_prompt import candidate_logps, pack_row, row_to

    device = torch.device("cuda" if gpu else "cpu")
    model.to(device).eval()
    scores: list[list[float]] = []
    with context or nullcontext(), torch.no_grad():
        for indices in pack_in_order(groups, max_tokens):
            part = [groups[index] for index in indices]
            flat = iter(candidate_logps(model, row_to(pack_row(part), device), attention_of(model)).tolist())
            scores += [[next(flat) for _ in group.candidates] for group in part]
    model.train()
    return scores


def _complete(groups: Sequence[Group]) -> bool:
    return not any(math.isnan(p.ref_chosen_logp) or math.isnan(p.ref_rejected_logp) for g in groups for p in g.pairs)


def _measure_drift(groups: Sequence[Group], model: Any, job: TrainingJob) -> Drift:
    import numpy as np

    from rlaif.models.dtype import weights_dtype

    count = min(_MOST_SAMPLED, max(_FEWEST_SAMPLED, len(groups) // 10))
    sample = groups[:: max(1, len(groups) // count)][:count]
    scores = score_groups(model, sample, job.training.max_tokens_per_pack, job.gpu)
    apart = []
    for group, logps in zip(sample, scores, strict=True):
        engine = {pair.chosen: pair.ref_chosen_logp for pair in group.pairs}
        engine |= {pair.rejected: pair.ref_rejected_logp for pair in group.pairs}
        apart += [abs(logps[index] - value) / max(1, len(group.candidates[index])) for index, value in engine.items()]
    limit = job.training.max_mismatch or _MAX_DRIFT[weights_dtype(job.dtype, job.gpu)]
    return Drift(float(np.mean(apart)), float(np.percentile(apart, 99)), len(apart), limit)


def _score_together(
    model: Any, groups: Sequence[Group], job: TrainingJob, context: AbstractContextManager[Any]
) -> list[Group]:
    """Score every n-th group in each of n workers, longest first, and exchange the scores."""
    import torch.distributed as dist

    workers, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    order = sorted(range(len(groups)), key=lambda index: (-groups[index].tokens, index))
    mine = order[rank::workers]
    scores = score_groups(model, [groups[index] for index in mine], job.training.max_tokens_per_pack, job.gpu, context)
    parts: list[Any] = [list(zip(mine, scores, strict=True))]
    if workers > 1:
        mine_alone, parts = parts[0], [None] * workers
        dist.all_gather_object(parts, mine_alone)
    found = dict(entry for part in parts for entry in part)
    return [with_reference(group, found[index]) for index, group in enumerate(groups)]


def _place(job: TrainingJob) -> str:
    return join(_folder(job), _STORED)


def _folder(job: TrainingJob) -> str:
    return job.pairs.rsplit("/", 1)[0]


def _read(groups: Sequence[Group], job: TrainingJob, name: str) -> list[Group] | None:
    """Return the groups with the stored reference, or None where none was stored for just these pairs and model."""
    from rlaif.store.shards import read_table

    if _STORED not in names(_folder(job), ".parquet"):
        return None
    table = read_table(_place(job))
    if (table.schema.metadata or {}).get(b"model") != name.encode():
        return None
    rows = {row["pair_id"]: row for row in table.to_pylist()}
    if set(rows) != {pair.id for group in groups for pair in group.pairs}:
        return None
    found = []
    for group in groups:
        logps = [math.nan] * len(group.candidates)
        for pair in group.pairs:
            logps[pair.chosen] = rows[pair.id]["ref_chosen_logp"]
            logps[pair.rejected] = rows[pair.id]["ref_rejected_logp"]
        found.append(with_reference(group, logps))
    return found


def _write(groups: Sequence[Group], job: TrainingJob, name: str) -> None:
    import pyarrow as pa
    import torch.distributed as dist

    from rlaif.store.shards import write_table

    if dist.is_initialized() and dist.get_rank() != 0:
        return
    rows = [
        {"pair_id": pair.id, "ref_chosen_logp": pair.ref_chosen_logp, "ref_rejected_logp": pair.ref_rejected_logp}
        for group in groups
        for pair in group.pairs
    ]
    write_table(_place(job), pa.Table.from_pylist(rows).replace_schema_metadata({"model": name}))
