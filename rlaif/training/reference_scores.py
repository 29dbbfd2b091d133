"""Log-probabilities under the reference policy that the trainer computes itself, whatever the objective."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, TypeVar

from rlaif.training.groups import Group, pack_in_order
from rlaif.training.job import TrainingJob
from rlaif.training.models import Score, candidate_scores, load_initial, score_groups

T = TypeVar("T")


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
    """Return what `score_groups` does; every worker calls, and all get the same."""

    def own(share: Sequence[Group], passes: int) -> list[list[float]]:
        return score_groups(model, share, max_tokens, gpu, score=score, passes=passes)

    return share_among_workers(groups, max_tokens, own)


def share_among_workers(
    groups: Sequence[Group], max_tokens: int, score: Callable[[Sequence[Group], int], list[T]]
) -> list[T]:
    """Score every n-th group in each of n workers, longest first, and exchange the scores; every worker calls.

    Args:
        max_tokens: token budget of a forward pass.
        score: scores some groups, in at least so many passes.
    """
    import torch.distributed as dist

    workers, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
    order = sorted(range(len(groups)), key=lambda index: (-groups[index].tokens, index))
    shares = [[groups[index] for index in order[worker::workers]] for worker in range(workers)]
    passes = max(len(pack_in_order(share, max_tokens)) for share in shares)
    own = list(zip(order[rank::workers], score(shares[rank], passes), strict=True))
    parts: list[Any] = [own]
    if workers > 1:
        parts = [None] * workers
        dist.all_gather_object(parts, own)
    found = dict(entry for part in parts for entry in part)
    return [found[index] for index in range(len(groups))]
