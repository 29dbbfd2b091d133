"""Log-probabilities under the reference policy: the engine's where they match, else the trainer's own.

Invariant: every pair that is trained on has a reference, unless its loss has no reference policy, and the result says
where it came from. The trainer's own take one pass without gradients, shared among the workers and stored beside the
pairs.
"""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from rlaif.io.files import join, names
from rlaif.models.dtype import weights_dtype
from rlaif.recipe import TrainingSection
from rlaif.training.dpo.mismatch import Mismatch, mismatch
from rlaif.training.groups import Group
from rlaif.training.job import TrainingJob
from rlaif.training.models import score_groups
from rlaif.training.reference_scores import initial_policy, score_together

if TYPE_CHECKING:
    import torch

    from rlaif.training.shared_prompt import PackedRow

Origin = Literal["engine", "trainer", "both", "stored", "none"]

_STORED = "reference.parquet"
# Compares a tenth of the groups, within these bounds. On a CPU, scoring one costs a third of training on it.
_FEWEST_GROUPS, _MOST_GROUPS = 4, 16


@dataclass(frozen=True, slots=True)
class Reference:
    """Groups that are ready to train on.

    Attributes:
        groups: with a reference for every pair.
        origin: `engine` as sampled, `trainer` computed now, `both` where only those were computed that no engine has
            sampled, `stored` computed by an earlier start of this training, `none` for a loss without a reference
            policy.
        mismatch: of the engine's log-probabilities, where there were any to compare.
    """

    groups: list[Group]
    origin: Origin
    mismatch: Mismatch | None


def settle_reference(groups: Sequence[Group], model: Any, base: str, job: TrainingJob[TrainingSection]) -> Reference:
    """Give every pair its reference. Every worker calls, and all get the same.

    Args:
        groups: all groups of the training.
        model: the policy before its first update.
        base: local folder of the initial policy.
    """
    if job.settings.loss == "simpo":
        return Reference(list(groups), "none", None)
    start, max_tokens = job.start, job.settings.max_tokens_per_pack
    found_mismatch, wanted = None, list(groups)
    computed: Origin = "trainer"
    if job.settings.reference == "previous":
        # Engines give the sum over an answer, of which a pair's shorter answer may want a part.
        if job.settings.ld_alpha is None:
            # For candidates of an earlier policy only the engine has its log-probabilities.
            sampled = [group for group in groups if _complete(group) and group.policy in ("", start.id)]
            wanted = [group for group in groups if not _complete(group)]
            if sampled:
                found_mismatch = _measure_mismatch(sampled, model, job)
            dtype = weights_dtype(start.dtype, job.gpu)
            if found_mismatch is not None and not found_mismatch.is_small(job.settings, dtype):
                wanted += sampled
            elif not wanted:
                return Reference(list(groups), "engine", found_mismatch)
            elif len(wanted) < len(groups):
                computed = "both"
        scored, context, name = model, nullcontext(), f"start {start.id or start.base}"
    else:
        scored, context = initial_policy(model, base, job)
        name = f"initial {start.adapter or start.base}"
    origin: Origin = "stored"
    folder = job.rows.rsplit("/", 1)[0]
    if (found := _read(wanted, folder, name)) is None:
        with context:
            logps = score_together(scored, wanted, max_tokens, job.gpu, partial(_pair_scores, job.settings.ld_alpha))
        origin = computed
        found = [_with_references(group, of_group) for group, of_group in zip(wanted, logps, strict=True)]
        _write(found, folder, name)
    # A prompt and a policy identify a group.
    own = {(group.prompt_token_ids, group.policy): group for group in found}
    return Reference([own.get((g.prompt_token_ids, g.policy), g) for g in groups], origin, found_mismatch)


def _pair_scores(
    ld_alpha: float | None, groups: Sequence[Group], row: "PackedRow", logps_A: "torch.Tensor"
) -> list[list[float]]:
    """Return the log-probabilities of each pair's chosen and rejected answer, one after the other, for each group."""
    import torch

    from rlaif.training.dpo.batch import answer_logps, make_batch
    from rlaif.training.shared_prompt import moved

    batch = moved(make_batch(groups, 1.0), logps_A.device)
    flat = iter(torch.stack(answer_logps(batch, logps_A, ld_alpha), dim=1).flatten().tolist())
    return [[next(flat) for _ in range(2 * len(group.pairs))] for group in groups]


def _with_references(group: Group, logps: Sequence[float]) -> Group:
    pairs = tuple(
        replace(pair, ref_chosen_logp=chosen, ref_rejected_logp=rejected)
        for pair, chosen, rejected in zip(group.pairs, logps[::2], logps[1::2], strict=True)
    )
    return replace(group, pairs=pairs)


def _complete(group: Group) -> bool:
    return not any(math.isnan(pair.ref_chosen_logp) or math.isnan(pair.ref_rejected_logp) for pair in group.pairs)


def _measure_mismatch(groups: Sequence[Group], model: Any, job: TrainingJob[TrainingSection]) -> Mismatch:
    count = min(_MOST_GROUPS, max(_FEWEST_GROUPS, len(groups) // 10))
    sample = groups[:: max(1, len(groups) // count)][:count]
    return mismatch(sample, score_groups(model, sample, job.settings.max_tokens_per_pack, job.gpu), job.settings)


def _read(groups: Sequence[Group], folder: str, name: str) -> list[Group] | None:
    """Return the groups with the stored reference; None unless one is stored for exactly these pairs and model."""
    from rlaif.store.shards import read_table

    if _STORED not in names(folder, ".parquet"):
        return None
    table = read_table(join(folder, _STORED))
    if (table.schema.metadata or {}).get(b"model") != name.encode():
        return None
    references = {row.pop("pair_id"): row for row in table.to_pylist()}
    if references.keys() != {pair.id for group in groups for pair in group.pairs}:
        return None
    return [
        replace(group, pairs=tuple(replace(pair, **references[pair.id]) for pair in group.pairs)) for group in groups
    ]


def _write(groups: Sequence[Group], folder: str, name: str) -> None:
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
    write_table(join(folder, _STORED), pa.Table.from_pylist(rows).replace_schema_metadata({"model": name}))
