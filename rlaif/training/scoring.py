"""Log-probabilities of candidates under a model, without gradients."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from rlaif.training.groups import Group
from rlaif.training.job import StartingWeights


def score_groups(
    model: Any,
    groups: Sequence[Group],
    max_tokens: int,
    gpu: bool,
    *,
    context: AbstractContextManager[Any] | None = None,
) -> list[list[float]]:
    """Return each candidate's summed log-probability, in nats, for each group.

    Args:
        model: a causal language model of `load_model`, with or without an adapter.
        groups: prompts with their candidates.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this process's GPU.
        context: entered around the passes, such as one that disables the adapter.
    """
    import torch

    from rlaif.training.kernels.attention import attention_of
    from rlaif.training.packing import pack_in_order
    from rlaif.training.shared_prompt import candidate_logps, pack_row

    device = torch.device("cuda" if gpu else "cpu")
    model.to(device).eval()
    scores: list[list[float]] = []
    with context or nullcontext(), torch.no_grad():
        for indices in pack_in_order(groups, max_tokens):
            part = [groups[index] for index in indices]
            flat = iter(candidate_logps(model, pack_row(part).to(device), attention_of(model)).tolist())
            scores += [[next(flat) for _ in group.candidates] for group in part]
    model.train()
    return scores


def score_with_base(start: StartingWeights, groups: Sequence[Group], max_tokens: int, gpu: bool) -> list[list[float]]:
    """Load the base of some weights and return `score_groups` under it; for a process of its own."""
    from rlaif.models.dtype import weights_dtype
    from rlaif.models.resolve import resolve_model
    from rlaif.training.models import load_model
    from rlaif.training.worker import set_threads

    if not gpu:
        set_threads(None)
    model = load_model(resolve_model(start.base, start.revision), weights_dtype(start.dtype, gpu), gpu)
    return score_groups(model, groups, max_tokens, gpu)
