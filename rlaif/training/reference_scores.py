"""Log-probabilities under the reference policy that the trainer computes itself, whatever the objective."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from rlaif.training.groups import Group, pack_in_order
from rlaif.training.job import TrainingJob
from rlaif.training.models import Score, candidate_scores, load_initial, score_groups


def initial_policy(model: Any, base: str, job: TrainingJob[Any]) -> tuple[Any, Any]:
    """Return a model that is the initial policy within a context; `model` is the policy before its first update."""
    start, lora = job.start, job.settings.lora
    if lora is not None and not start.adapter:
        return model, model.disable_adapter()
    if not start.path:
        return model, nullcontext()
    from rlaif.training.kernels.attention import copy_attention

    initial = load_initial(start, base, lora, gpu=job.gpu, sharded=job.sharded)
    copy_attention(model, initial)
    return initial, nullcontext()


def score_together(
    model: Any, groups: Sequence[Group], max_tokens: int, gpu: bool, score: Score = candidate_scores
) -> list[list[float]]:
    """Return what `score_groups` does; every worker calls, and all get the same.

    Each of n workers scores every n-th group, longest first, and they exchange the scores.
    """
    import torch.distributed as dist

    workers, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    order = sorted(range(len(groups)), key=lambda index: (-groups[index].tokens, index))
    shares = [[groups[index] for index in order[worker::workers]] for worker in range(workers)]
    passes = max(len(pack_in_order(share, max_tokens)) for share in shares)
    scores = score_groups(model, shares[rank], max_tokens, gpu, score=score, passes=passes)
    own = list(zip(order[rank::workers], scores, strict=True))
    parts: list[Any] = [own]
    if workers > 1:
        parts = [None] * workers
        dist.all_gather_object(parts, own)
    found = dict(entry for part in parts for entry in part)
    return [found[index] for index in range(len(groups))]
