"""Packs groups into one row: a prompt once, then all its candidates.

Position ids restart at the prompt's end for each candidate, and attention lets a candidate see its prompt and itself
alone, so its log-probability is exactly the one that it has by itself. Logits are computed only where an answer token
is predicted. A candidate's last token predicts nothing and is left out of the row.

A model that no packed attention fits reads each candidate after its prompt in a sequence of its own, without padding.

Suffixes name axes: T tokens of the row, A answer tokens, C candidates.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from rlaif.training.groups import Group
from rlaif.training.kernels.attention import AttentionKind
from rlaif.training.kernels.layout import GroupSpan, Layout, additive, flex_filler


@dataclass(frozen=True, slots=True)
class CandidateSpans:
    """The positions of a candidate in a row: those of its prompt, and those of its own tokens that are read."""

    prompt: GroupSpan
    answer: GroupSpan


@dataclass(frozen=True, slots=True)
class PackedRow:
    """The tensors of one forward pass.

    Attributes:
        input_ids, position_ids: [1, T] int64.
        predicted_from: [A] int64, the position whose logits predict each answer token.
        targets: [A] int64, all answer tokens: those of the candidates that count.
        owner: [A] int64, index in [0, C) of each answer token's candidate.
        lengths: [C] int64, answer tokens of each candidate.
        spans: of the C candidates.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    layout: Layout
    predicted_from: torch.Tensor
    targets: torch.Tensor
    owner: torch.Tensor
    lengths: torch.Tensor
    spans: tuple[CandidateSpans, ...]

    def to(self, device: torch.device) -> "PackedRow":
        row: PackedRow = moved(self, device)
        return row


def pack_row(groups: Sequence[Group]) -> PackedRow:
    """Lay groups out as one row; candidates are numbered through, group by group. No groups give a filler token."""
    tokens: list[int] = []
    positions: list[int] = []
    group_of: list[int] = []
    candidate_of: list[int] = []  # -1 in a prompt
    spans: list[GroupSpan] = []
    predicted_from: list[int] = []
    targets: list[int] = []
    owner: list[int] = []
    lengths: list[int] = []
    of_candidates: list[CandidateSpans] = []
    for number, group in enumerate(groups):
        begin, prompt = len(tokens), len(group.prompt_token_ids)
        prompt_end = begin + prompt - 1
        tokens += group.prompt_token_ids
        positions += range(prompt)
        group_of += [number] * prompt
        candidate_of += [-1] * prompt
        for number_in_group, candidate in enumerate(group.candidates):
            start, length, index = len(tokens), len(candidate), len(lengths)
            counted = list(group.counted(number_in_group))
            read = max(length - 1, 0)  # The last token is only predicted.
            tokens += candidate[:read]
            positions += range(prompt, prompt + read)
            group_of += [number] * read
            candidate_of += [index] * read
            predicted_from += [start + place - 1 if place else prompt_end for place in counted]
            targets += [candidate[place] for place in counted]
            owner += [index] * len(counted)
            lengths.append(len(counted))
            of_candidates.append(CandidateSpans(GroupSpan(begin, prompt_end + 1), GroupSpan(start, start + read)))
        spans.append(GroupSpan(begin, len(tokens)))
    if not tokens:
        tokens, positions, group_of, candidate_of, spans = [0], [0], [0], [-1], [GroupSpan(0, 1)]
    return PackedRow(
        input_ids=torch.tensor([tokens]),
        position_ids=torch.tensor([positions]),
        layout=Layout(spans, torch.tensor(group_of), torch.tensor(candidate_of), torch.tensor(positions)),
        predicted_from=torch.tensor(predicted_from, dtype=torch.long),
        targets=torch.tensor(targets, dtype=torch.long),
        owner=torch.tensor(owner, dtype=torch.long),
        lengths=torch.tensor(lengths, dtype=torch.long),
        spans=tuple(of_candidates),
    )


def moved(data: Any, device: torch.device) -> Any:
    """Return a dataclass with all its tensors on a device."""
    values = {field.name: getattr(data, field.name) for field in fields(data)}
    return replace(data, **{name: value.to(device) for name, value in values.items() if hasattr(value, "to")})


def candidate_logps(model: torch.nn.Module, row: PackedRow, attention: AttentionKind) -> torch.Tensor:
    """Return the summed log-probability of each candidate given its prompt: [C] float32, in nats; see `token_logps`."""
    return sums_by_candidate(row, token_logps(model, row, attention))


def sums_by_candidate(row: PackedRow, values_A: torch.Tensor) -> torch.Tensor:
    """Return the sum over each candidate's answer tokens: [C]."""
    return values_A.new_zeros(len(row.lengths)).index_add(0, row.owner, values_A)


def token_logps(model: torch.nn.Module, row: PackedRow, attention: AttentionKind) -> torch.Tensor:
    """Return the log-probability of each of `row.targets` given what is before it: [A] float32, in nats.

    The model is one of `load_model`, with or without an adapter or a wrapper, and `attention` its `attention_of`.
    """
    return token_outputs(model, row, attention).logps


class TokenOutputs(NamedTuple):
    """What a model makes of each of a row's targets; see `AnswerLogps`."""

    logps: torch.Tensor
    values: torch.Tensor | None
    raw: torch.Tensor | None


def token_outputs(
    model: torch.nn.Module, row: PackedRow, attention: AttentionKind, temperature: float = 1.0
) -> TokenOutputs:
    """Return `token_logps` of sampling at a temperature, and the values of a model with a value head."""
    if attention == "alone":
        return _outputs_alone(model, row, temperature)
    # A row without answers still runs: every worker must take part in every gradient exchange.
    nothing = torch.zeros(1, dtype=torch.long, device=row.owner.device)
    keep, targets = (row.predicted_from, row.targets) if len(row.targets) else (nothing, nothing)
    inputs = _inputs(row, attention)
    output = model(**inputs, logits_to_keep=keep, use_cache=False, answer_targets=targets, temperature=temperature)
    return _first(output, len(row.targets))


def _first(output: Any, count: int) -> TokenOutputs:
    values, raw = (None if each is None else each[:count] for each in (output.values, output.raw))
    return TokenOutputs(output.logps[:count], values, raw)


def _inputs(row: PackedRow, attention: AttentionKind) -> dict[str, Any]:
    inputs = {"input_ids": row.input_ids, "position_ids": row.position_ids}
    if attention == "groups":
        return {**inputs, "layout": row.layout}
    if attention == "mask":
        return {**inputs, "attention_mask": row.layout.dense_mask()}
    if attention == "eager":
        return {**inputs, "attention_mask": additive(row.layout.dense_mask(), torch.float32)}
    filler = (0, flex_filler(row.input_ids.shape[1]))
    filled = {name: torch.nn.functional.pad(tensor, filler) for name, tensor in inputs.items()}
    return {**filled, "attention_mask": row.layout.block_mask()}


def _outputs_alone(model: torch.nn.Module, row: PackedRow, temperature: float) -> TokenOutputs:
    """Return `token_outputs` from one forward pass for each candidate."""
    lengths: list[int] = row.lengths.tolist()
    written = [index for index, length in enumerate(lengths) if length]
    zero = torch.zeros(1, dtype=torch.long, device=row.owner.device)
    # Workers that share weights take part in as many passes as the others, and agree on how many before the first.
    passes = _passes(model, len(written))
    found = [_sequence_outputs(model, *_sequence(row, index), temperature) for index in written]
    # Idle passes give no token, but they are in the graph.
    idle = passes - len(written)
    found += [_first(_sequence_outputs(model, zero, zero, zero, temperature), 0) for _ in range(idle)]
    values = [each.values for each in found if each.values is not None]
    raw = [each.raw for each in found if each.raw is not None]
    return TokenOutputs(
        torch.cat([each.logps for each in found]),
        torch.cat(values) if values else None,
        torch.cat(raw) if raw else None,
    )


def _sequence(row: PackedRow, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the token ids of a candidate after its prompt, the positions that predict it, and its answer tokens."""
    spans, ids_T = row.spans[index], row.input_ids[0]
    prompt = ids_T[spans.prompt.start : spans.prompt.end]
    own = row.owner == index
    # In the row other candidates may lie between the prompt and this one.
    places, between = row.predicted_from[own], spans.answer.start - spans.prompt.end
    predicted_from = places - torch.where(places < spans.prompt.end, 0, between) - spans.prompt.start
    return torch.cat((prompt, ids_T[spans.answer.start : spans.answer.end])), predicted_from, row.targets[own]


def _sequence_outputs(
    model: torch.nn.Module,
    ids: torch.Tensor,
    predicted_from: torch.Tensor,
    targets: torch.Tensor,
    temperature: float,
) -> TokenOutputs:
    # The last MLP stays whole: with gradient checkpointing it runs again once other sequences have run.
    output = model(
        input_ids=ids[None],
        logits_to_keep=predicted_from,
        use_cache=False,
        answer_targets=targets,
        temperature=temperature,
        whole_mlp=True,
    )
    return _first(output, len(targets))


def _passes(model: torch.nn.Module, needed: int) -> int:
    """Return the most passes that a worker needs, where the workers share the model's weights or gradients."""
    shared = isinstance(model, DistributedDataParallel | FSDPModule) or any(
        isinstance(module, FSDPModule) for module in model.modules()
    )
    if not (shared and dist.is_initialized() and dist.get_world_size() > 1):
        return max(1, needed)
    most = torch.tensor([needed], device=next(model.parameters()).device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    return max(1, int(most))
