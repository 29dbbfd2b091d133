"""Reference log-probabilities that no engine has returned: one pass without gradients, each candidate once."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from rlaif.training.groups import Group
from rlaif.training.job import TrainingJob


def fill_reference(groups: Sequence[Group], model: Any, base: str, job: TrainingJob) -> list[Group]:
    """Return the groups with the initial policy's log-probabilities as their reference.

    Args:
        groups: whose reference is wanted.
        model: the policy about to be trained; an adapter is switched off for the pass.
        base: local folder of the initial policy, loaded where full weights are trained.
        job: says which of the two it is.
    """
    from rlaif.training.models import load_model

    if job.training.lora is None:
        reference, off = load_model(base, "float32"), nullcontext()
    else:
        reference, off = model, model.disable_adapter()
    logps = score_groups(reference, groups, job.training.max_tokens_per_pack, job.gpu, off)
    return [_with_reference(group, values) for group, values in zip(groups, logps, strict=True)]


def score_groups(
    model: Any, groups: Sequence[Group], max_tokens: int, gpu: bool, context: AbstractContextManager[Any] | None = None
) -> list[list[float]]:
    """Return each candidate's summed log-probability, in nats, for each group.

    Args:
        model: a causal language model.
        groups: prompts with their candidates.
        max_tokens: token budget of a forward pass.
        gpu: whether to run on this worker's GPU.
        context: entered around the passes, such as an adapter switched off.
    """
    import torch

    from rlaif.training.packing import pack_in_order
    from rlaif.training.shared_prompt import candidate_logps, pack_row, row_to

    device = torch.device("cuda" if gpu else "cpu")
    model.to(device).eval()
    scores: list[list[float]] = []
    with context or nullcontext(), torch.no_grad():
        for indices in pack_in_order(groups, max_tokens):
            part = [groups[index] for index in indices]
            flat = iter(candidate_logps(model, row_to(pack_row(part), device)).tolist())
            scores += [[next(flat) for _ in group.candidates] for group in part]
    model.train()
    return scores


def _with_reference(group: Group, logps: Sequence[float]) -> Group:
    pairs = tuple(
        replace(pair, ref_chosen_logp=logps[pair.chosen], ref_rejected_logp=logps[pair.rejected]) for pair in group.pairs
    )
    return replace(group, pairs=pairs)
