"""Packs of pairs as tensors, and the log-probabilities of their answers.

Suffixes name axes: P pairs, C candidates, A answer tokens of a pack, N of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch

from rlaif.training.groups import Group, Pair
from rlaif.training.shared_prompt import PackedRow, pack_row, sums_by_candidate


@dataclass(frozen=True, slots=True)
class Batch:
    """One pack as tensors, with its P pairs.

    Attributes:
        row: the forward pass over all C candidates.
        pairs: for messages.
        chosen, rejected: [P] int64, indices of candidates in the row.
        ref_chosen, ref_rejected: [P] float32, log-probabilities under the reference policy, in nats; NaN where the loss
            has none.
        weights: [P] float32, each pair's weight over `Pack.step_weight`.
        chosen_longer: [P] bool, whether the chosen answer is the longer one.
        tail_tokens: [N] int64, among the A answer tokens those of longer answers beyond the length of the pair's
            shorter one.
        tail_pairs: [N] int64, the pair of each.
    """

    row: PackedRow
    pairs: tuple[Pair, ...]
    chosen: torch.Tensor
    rejected: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    weights: torch.Tensor
    chosen_longer: torch.Tensor
    tail_tokens: torch.Tensor
    tail_pairs: torch.Tensor


def make_batch(groups: Sequence[Group], step_weight: float) -> Batch:
    """Turn the groups of one pack into tensors; `step_weight` is `Pack.step_weight`."""
    pairs: list[Pair] = []
    chosen: list[int] = []
    rejected: list[int] = []
    first = 0
    for group in groups:
        pairs += group.pairs
        chosen += [first + pair.chosen for pair in group.pairs]
        rejected += [first + pair.rejected for pair in group.pairs]
        first += len(group.candidates)
    row = pack_row(groups)
    lengths: list[int] = row.lengths.tolist()
    starts = [0, *accumulate(lengths)]
    tail_tokens: list[int] = []
    tail_pairs: list[int] = []
    for number, sides in enumerate(zip(chosen, rejected, strict=True)):
        shared, longer = min(lengths[side] for side in sides), max(sides, key=lambda side: lengths[side])
        tail_tokens += range(starts[longer] + shared, starts[longer] + lengths[longer])
        tail_pairs += [number] * (lengths[longer] - shared)
    return Batch(
        row=row,
        pairs=tuple(pairs),
        chosen=torch.tensor(chosen, dtype=torch.long),
        rejected=torch.tensor(rejected, dtype=torch.long),
        ref_chosen=torch.tensor([pair.ref_chosen_logp for pair in pairs], dtype=torch.float32),
        ref_rejected=torch.tensor([pair.ref_rejected_logp for pair in pairs], dtype=torch.float32),
        weights=torch.tensor([pair.weight / step_weight for pair in pairs], dtype=torch.float32),
        chosen_longer=row.lengths[chosen] > row.lengths[rejected],
        tail_tokens=torch.tensor(tail_tokens, dtype=torch.long),
        tail_pairs=torch.tensor(tail_pairs, dtype=torch.long),
    )


def answer_logps(batch: Batch, logps_A: torch.Tensor, ld_alpha: float | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the log-probabilities of each pair's chosen and rejected answer: [P] each, in nats.

    Args:
        ld_alpha: weight of the tokens beyond the length of the pair's shorter answer, the alpha of LD-DPO (Liu et al.
            2024, arXiv:2409.06411); None is 1.
    """
    logps_C = sums_by_candidate(batch.row, logps_A)
    chosen_P, rejected_P = logps_C[batch.chosen], logps_C[batch.rejected]
    if ld_alpha is None:
        return chosen_P, rejected_P
    tail_P = torch.zeros_like(chosen_P).index_add(0, batch.tail_pairs, logps_A[batch.tail_tokens])
    less_P, zero = (1 - ld_alpha) * tail_P, torch.zeros(())
    return (
        chosen_P - torch.where(batch.chosen_longer, less_P, zero),
        rejected_P - torch.where(batch.chosen_longer, zero, less_P),
    )
