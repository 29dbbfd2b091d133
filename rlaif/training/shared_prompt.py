"""One prompt, once: a prompt and all its candidates as one sequence, several groups in one row.

Position ids restart at the prompt's end for each candidate, and attention lets a candidate see its prompt and itself,
nothing else; so every candidate has the log-probability that it has alone behind its prompt, exactly. Logits are
computed only where an answer token is predicted. A candidate's last token predicts nothing and stands nowhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from rlaif.training.groups import Group
from rlaif.training.kernels.attention import Kind, Layout, Span, flex_filler


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Tensors of one forward pass over T tokens, of which A are answer tokens, and C candidates.

    Attributes:
        input_ids: [1, T] int64.
        position_ids: [1, T] int64.
        layout: which token belongs to which group and candidate.
        predicted_from: [A] int64, the position whose logits predict each answer token.
        targets: [A] int64, the answer tokens, all of them.
        owner: [A] int64, index in [0, C) of the candidate that each answer token belongs to.
        lengths: [C] int64, tokens of each candidate.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
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
    spans: list[Span] = []
    predicted_from: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    lengths: list[int] = []
    for number, group in enumerate(groups):
        begin, prompt = len(tokens), len(group.prompt_token_ids)
        prompt_end = begin + prompt - 1
        tokens += group.prompt_token_ids
        positions += range(prompt)
        group_of += [number] * prompt
        candidate_of += [-1] * prompt
        for candidate in group.candidates:
            start, length, index = len(tokens), len(candidate), len(lengths)
            read = max(length - 1, 0)  # The last token is only predicted.
            tokens += candidate[:read]
            positions += range(prompt, prompt + read)
            group_of += [number] * read
            candidate_of += [index] * read
            predicted_from += ([prompt_end, *range(start, start + read)])[:length]
            targets += candidate
            owner += [index] * length
            lengths.append(length)
        spans.append(Span(begin, len(tokens)))
    if not tokens:
        tokens, positions, group_of, candidate_of, spans = [0], [0], [0], [-1], [Span(0, 1)]
    return PackedRow(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        layout=Layout(spans, torch.tensor(group_of), torch.tensor(candidate_of)),
        predicted_from=torch.tensor(predicted_from, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        owner=torch.tensor(owner, dtype=torch.long),
        lengths=torch.tensor(lengths, dtype=torch.long),
    )


def row_to(row: PackedRow, device: torch.device) -> PackedRow:
    """Return the row with all its tensors on a device."""
    names = ("input_ids", "position_ids", "layout", "predicted_from", "targets", "owner", "lengths")
    return replace(row, **{name: getattr(row, name).to(device) for name in names})


def candidate_logps(model: torch.nn.Module, row: PackedRow, attention: Kind) -> torch.Tensor:
    """Return the summed log-probability of each candidate given its prompt: [C] float32, in nats.

    Args:
        model: a causal language model of `load_model`; an adapter or a wrapper around it is welcome.
        row: the packed groups.
        attention: what `set_attention` chose for the model.
    """
    # A row without answers still runs, so that every worker takes part in every gradient exchange.
    nothing = torch.zeros(1, dtype=torch.long, device=row.owner.device)
    keep, targets = (row.predicted_from, row.targets) if len(row.targets) else (nothing, nothing)
    inputs = _inputs(row, attention)
    logps = model(**inputs, logits_to_keep=keep, use_cache=False, answer_targets=targets).logps
    sums = torch.zeros(len(row.lengths), dtype=torch.float32, device=logps.device)
    return sums.index_add(0, row.owner, logps) if len(row.targets) else sums + 0.0 * logps.sum()


def _inputs(row: PackedRow, attention: Kind) -> dict[str, Any]:
    inputs = {"input_ids": row.input_ids, "position_ids": row.position_ids}
    if attention == "groups":
        return {**inputs, "layout": row.layout}
    if attention == "mask":
        return {**inputs, "attention_mask": row.layout.dense_mask()}
    filler = (0, flex_filler(row.input_ids.shape[1]))
    filled = {name: torch.nn.functional.pad(tensor, filler) for name, tensor in inputs.items()}
    return {**filled, "attention_mask": row.layout.block_mask()}
