"""Attention over packed groups: a candidate sees its prompt and itself alone.

The packed kinds compute the same. `groups` attends block by block within each group, so that its cost does not grow
with the other groups of a row; it knows windows, soft caps and sinks. `flex` is FlexAttention with a block mask (Dong
et al. 2024, arXiv:2412.05496), on CUDA. `mask` and `eager` are the model's own attention under a dense mask: torch's,
which takes booleans, and transformers' plain one, which adds its mask.

`alone` packs nothing: each candidate follows its prompt in a sequence of its own, through the model's own attention
without a mask of ours, so any causal model takes it. Which kind a model supports is tested (`self_check`), not assumed.

Suffixes name axes: T tokens of the row, H heads, D width of a head, Q and K tokens of a block that look and are seen.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

from rlaif.training.kernels.layout import Layout, plain_layout, query_blocks

AttentionKind = Literal["groups", "flex", "mask", "eager", "alone"]

_NAME = "rlaif_groups"
_IMPLEMENTATIONS = {"groups": _NAME, "flex": "flex_attention", "mask": "sdpa", "eager": "eager"}
_ATTRIBUTE = "rlaif_attention"


@dataclass(frozen=True, slots=True)
class Attention:
    """How a model attends over groups.

    Attributes:
        implementation: of transformers; "" is that of the kind. `alone` takes `sdpa` or `eager`.
        reason: why the model is trained unpacked; "" where it is packed.
    """

    kind: AttentionKind
    implementation: str = ""
    reason: str = ""


def set_attention(model: Any, attention: Attention) -> None:
    """Set a bare model's attention.

    Raises:
        ValueError: the model does not know the implementation.
    """
    AttentionInterface.register(_NAME, _attend)
    model.set_attn_implementation(attention.implementation or _IMPLEMENTATIONS[attention.kind])
    setattr(model, _ATTRIBUTE, attention)


def copy_attention(source: Any, target: Any) -> None:
    """Set a model's attention as another's of the same architecture, each with or without an adapter."""
    set_attention(bare_model(target), attention_choice(source))


def bare_model(model: Any) -> Any:
    """Return a model without the adapter around it."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def attention_of(model: Any) -> AttentionKind:
    """Return the kind that `set_attention` has set, of a model with or without an adapter around it."""
    return attention_choice(model).kind


def attention_choice(model: Any) -> Attention:
    """Return what `set_attention` has set, of a model with or without an adapter around it."""
    chosen: Attention = getattr(model, _ATTRIBUTE)
    return chosen


def _attend(
    module: torch.nn.Module,
    query_1HTD: torch.Tensor,
    key_1HTD: torch.Tensor,
    value_1HTD: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    layout: Layout | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """One layer's attention, called by transformers; returns [1, T, H, D]."""
    length = query_1HTD.shape[2]
    if layout is None:
        # An ordinary sequence without padding, such as a probe's.
        if softcap is None and s_aux is None and (sliding_window is None or length <= sliding_window):
            plain = _sdpa(query_1HTD, key_1HTD, value_1HTD, None, scaling, dropout)
            return plain.transpose(1, 2).contiguous(), None
        layout = plain_layout(length, query_1HTD.device)
    lengths = [span.end - span.start for span in layout.spans]
    parts = []
    # One split for all groups: its gradient is one concatenation, where a slice's is a row full of zeros.
    groups = (torch.split(tensor, lengths, 2) for tensor in (query_1HTD, key_1HTD, value_1HTD))
    masks_of = layout.block_masks(query_1HTD.dtype, sliding_window)
    for masks, query, key, value in zip(masks_of, *groups, strict=True):
        for mask, query_1HQD in zip(masks, query_blocks(query), strict=True):
            seen = mask.shape[-1]
            block = query_1HQD, key[:, :, :seen], value[:, :, :seen], mask, scaling, dropout
            part_1HQD = _sdpa(*block) if softcap is None and s_aux is None else _written_out(*block, softcap, s_aux)
            parts.append(part_1HQD.transpose(1, 2))
    return torch.cat(parts, 1), None


def _sdpa(
    query_1HQD: torch.Tensor,
    key_1HKD: torch.Tensor,
    value_1HKD: torch.Tensor,
    mask: torch.Tensor | None,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """Torch's attention under an additive mask; without one it is causal."""
    shared = query_1HQD.shape[1] != key_1HKD.shape[1]  # Several heads of queries share one of keys and values.
    return F.scaled_dot_product_attention(
        query_1HQD, key_1HKD, value_1HKD, mask, dropout, is_causal=mask is None, scale=scaling, enable_gqa=shared
    )


def _written_out(
    query_1HQD: torch.Tensor,
    key_1HKD: torch.Tensor,
    value_1HKD: torch.Tensor,
    mask: torch.Tensor,
    scaling: float | None,
    dropout: float,
    softcap: float | None,
    sinks_H: torch.Tensor | None,
) -> torch.Tensor:
    """Attention with what torch's lacks: scores bounded by `softcap * tanh(score / softcap)`, and a score for nothing.

    The cap is Gemma 2's (arXiv:2408.00118), the sink gpt-oss's (arXiv:2508.10925): one more score a head, whose share
    of the softmax goes to no token.
    """
    heads = query_1HQD.shape[1]
    key_1HKD, value_1HKD = (part.repeat_interleave(heads // part.shape[1], 1) for part in (key_1HKD, value_1HKD))
    scores_1HQK = query_1HQD @ key_1HKD.transpose(2, 3) * (scaling or query_1HQD.shape[-1] ** -0.5)
    if softcap is not None:
        scores_1HQK = softcap * torch.tanh(scores_1HQK / softcap)
    scores_1HQK = scores_1HQK + mask
    if sinks_H is not None:
        sinks = sinks_H.view(1, -1, 1, 1).expand(*scores_1HQK.shape[:3], 1).to(scores_1HQK.dtype)
        scores_1HQK = torch.cat((scores_1HQK, sinks), -1)
    shares_1HQK = F.dropout(scores_1HQK.softmax(-1, dtype=torch.float32), dropout).to(value_1HKD.dtype)
    return shares_1HQK[..., : value_1HKD.shape[2]] @ value_1HKD
