"""Packed answers against each alone: the log-probabilities of random groups, both ways.

Suffixes name axes: T tokens of a sequence, V vocabulary, C candidates.
"""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from rlaif.errors import WorkError, first_line
from rlaif.training.groups import Group
from rlaif.training.kernels.attention import Attention, set_attention
from rlaif.training.shared_prompt import candidate_logps, pack_row

# Each architecture refuses in its own way what it does not know.
_REFUSALS = (ArithmeticError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError)


def random_groups(sizes: Sequence[tuple[int, Sequence[int]]], vocabulary: int = 200) -> list[Group]:
    """Return groups of random tokens of a vocabulary, from the sizes of their prompts and candidates."""
    draw = random.Random(0)
    most = min(vocabulary, 200)  # Later tokens may stand for an image, earlier ones for a part of the chat template.

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(most // 10, most) for _ in range(count))

    return [Group(tokens(prompt), tuple(tokens(length) for length in answers), ()) for prompt, answers in sizes]


def plain_logps(model: Any, groups: Sequence[Group]) -> torch.Tensor:
    """Return each candidate's log-probability in a sequence of its own, by transformers' plain attention: [C], in nats.

    The model keeps that attention.
    """
    model.set_attn_implementation("eager")
    device = next(model.parameters()).device
    sums = []
    for group in groups:
        prompt = group.prompt_token_ids
        for candidate in group.candidates:
            ids_1T = torch.tensor([[*prompt, *candidate]], device=device)
            logits_TV = model(input_ids=ids_1T, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
            targets = ids_1T[0, len(prompt) :, None]
            sums.append(logits_TV.log_softmax(-1).gather(1, targets).sum())
    return torch.stack(sums)


@torch.no_grad()
def first_equal(
    model: Any, groups: Sequence[Group], expected_C: torch.Tensor, kinds: Sequence[Attention], limit: float
) -> Attention:
    """Set and return the first kind of attention with the expected log-probabilities.

    Args:
        expected_C: of `plain_logps`.
        limit: largest distance of a candidate's log-probability, in nats a token.

    Raises:
        WorkError: no kind has them, not even unpacked: an answer's tokens depend on later ones.
    """
    lengths_C = torch.tensor([len(candidate) for group in groups for candidate in group.candidates])
    row = pack_row(groups).to(expected_C.device)
    apart = refusal = ""
    for kind in kinds:
        try:
            set_attention(model, kind)
            found_C = candidate_logps(model, row, kind.kind)
        except _REFUSALS as error:
            refusal = first_line(error)
            continue
        distance = float(((found_C - expected_C).abs().cpu() / lengths_C).max())
        if distance <= limit:
            reason = (
                f"packed, its answers' log-probabilities are off by {apart}" if apart else "it takes no mask of ours"
            )
            chosen = replace(kind, reason=reason if kind.kind == "alone" else "")
            set_attention(model, chosen)
            return chosen
        apart = f"{distance:.2g} nats a token"
    why = f"an answer's log-probabilities change by {apart} with the token after it" if apart else refusal
    raise WorkError(f"{type(model).__name__} cannot be trained as a causal language model: {why}")
