"""One prompt, once: a prompt and all its candidates as one sequence, several groups in one row.

Position ids restart at the prompt's end for each candidate, and an attention mask lets a candidate see its prompt
and itself, nothing else; so every candidate has the log-probability that it has alone behind its prompt, exactly.
Logits are computed only where an answer token is predicted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from rlaif.training.groups import Group


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Tensors of one forward pass over T tokens, of which A are answer tokens, and C candidates.

    Attributes:
        input_ids: [1, T] int64.
        position_ids: [1, T] int64.
        attention_mask: [1, 1, T, T] bool, True where row may look at column.
        predicted_from: [A] int64, the position whose logits predict each answer token.
        targets: [A] int64, the answer tokens.
        owner: [A] int64, index in [0, C) of the candidate that each answer token belongs to.
        lengths: [C] int64, tokens of each candidate.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    attention_mask: torch.Tensor
    predicted_from: torch.Tensor
    targets: torch.Tensor
    owner: torch.Tensor
    lengths: torch.Tensor


def pack_row(groups: Sequence[Group]) -> PackedRow:
    """Lay groups out as one row; candidates are numbered through, group by group. No groups give a filler token."""
    tokens: list[int] = []
    positions: list[int] = []
    group_of: list[int] = []
    candidate_of: list[int] = []  # -1 in a prompt
    predicted_from: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    lengths: list[int] = []
    for number, group in enumerate(groups):
        prompt = len(group.prompt_token_ids)
        prompt_end = len(tokens) + prompt - 1
        tokens += group.prompt_token_ids
        positions += range(prompt)
        group_of += [number] * prompt
        candidate_of += [-1] * prompt
        for candidate in group.candidates:
            start, length, index = len(tokens), len(candidate), len(lengths)
            tokens += candidate
            positions += range(prompt, prompt + length)
            group_of += [number] * length
            candidate_of += [index] * length
            predicted_from += ([prompt_end, *range(start, start + length - 1)])[:length]
            targets += candidate
            owner += [index] * length
            lengths.append(length)
    if not tokens:
        tokens, positions, group_of, candidate_of = [0], [0], [0], [-1]
    return PackedRow(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        attention_mask=_mask(torch.tensor(group_of), torch.tensor(candidate_of)),
        predicted_from=torch.tensor(predicted_from, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        owner=torch.tensor(owner, dtype=torch.long),
        lengths=torch.tensor(lengths, dtype=torch.long),
    )


def row_to(row: PackedRow, device: torch.device) -> PackedRow:
    """Return the row with all its tensors on a device."""
    return PackedRow(**{field.name: getattr(row, field.name).to(device) for field in fields(row)})


def candidate_logps(model: torch.nn.Module, row: PackedRow) -> torch.Tensor:
    """Return the summed log-probability of each candidate given its prompt: [C] float32, in nats."""
    # A row without answers still runs, so that every worker takes part in every gradient exchange.
    keep = row.predicted_from if len(row.predicted_from) else torch.zeros(1, dtype=torch.long, device=row.owner.device)
    logits = model(
        input_ids=row.input_ids,
        position_ids=row.position_ids,
        attention_mask=row.attention_mask,
        logits_to_keep=keep,
        use_cache=False,
    ).logits[0]
    sums = torch.zeros(len(row.lengths), dtype=torch.float32, device=logits.device)
    if not len(row.predicted_from):
        return sums + 0.0 * logits.float().sum()
    logits = logits.float()
    chosen = logits.gather(1, row.targets[:, None])[:, 0]
    return sums.index_add(0, row.owner, chosen - logits.logsumexp(dim=1))


def _mask(group_of: torch.Tensor, candidate_of: torch.Tensor) -> torch.Tensor:
    """[T], [T] -> [1, 1, T, T]: causal, within the group, and to the prompt or the same candidate."""
    causal = torch.ones(len(group_of), len(group_of), dtype=torch.bool).tril_()
    same_group = group_of[:, None] == group_of[None, :]
    visible = (candidate_of[None, :] == -1) | (candidate_of[:, None] == candidate_of[None, :])
    return (causal & same_group & visible)[None, None]
