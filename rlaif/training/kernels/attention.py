"""Attention over packed groups: a candidate sees its prompt and itself alone.

Three kinds compute the same. `groups` attends block by block within each group, so that its cost does not grow with
the other groups of a row; `flex` is FlexAttention with a block mask (Dong et al. 2024, arXiv:2412.05496), on CUDA;
`mask` is the model's own attention under a dense mask, for all other models. Which kind a model supports is tested, not
assumed.

Suffixes name axes: T tokens of the row, H heads, D width of a head, Q and K tokens of a block that look and are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.nn.functional as F
from transformers import AttentionInterface

AttentionKind = Literal["groups", "flex", "mask"]

_NAME = "rlaif_groups"
# FlexAttention compiles once for each length, so rows are padded to a multiple of this.
_FLEX_BLOCK = 128
# Tokens in one attention call of `groups`; no size from 64 to 256 is fastest for every shape.
_QUERY_BLOCK = 128


@dataclass(frozen=True, slots=True)
class GroupSpan:
    """The positions [start, end) of a group in a row, its prompt first."""

    start: int
    end: int


@dataclass(slots=True)
class Layout:
    """The group and the candidate of each token of a row.

    Attributes:
        spans: of the groups, in order, without gaps; together they cover the row.
        group: [T] int64, index of each token's group.
        candidate: [T] int64, index of each token's candidate, -1 in a prompt.
        visits: attention calls that used this layout; 0 after a forward pass means that the model ignored it.
    """

    spans: Sequence[GroupSpan]
    group: torch.Tensor
    candidate: torch.Tensor
    visits: int = 0
    _masks: list[list[torch.Tensor]] = field(default_factory=list)

    def to(self, device: torch.device) -> "Layout":
        return Layout(self.spans, self.group.to(device), self.candidate.to(device))

    def visible(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Whether tokens at positions `query` may look at those at `key`: earlier ones of its prompt and candidate."""
        same_group = self.group[query] == self.group[key]
        reach = (self.candidate[key] == -1) | (self.candidate[key] == self.candidate[query])
        return (query >= key) & same_group & reach

    def dense_mask(self) -> torch.Tensor:
        """[1, 1, T, T] bool, True where the row's token may look at the column's."""
        every = torch.arange(len(self.group), device=self.group.device)
        return self.visible(every[:, None], every[None, :])[None, None]

    def block_mask(self) -> Any:
        """The dense mask for FlexAttention, over T tokens padded to whole blocks."""
        from torch.nn.attention.flex_attention import create_block_mask

        length = len(self.group)
        last = length - 1

        def visible(batch: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
            # Padding looks at itself, so that no row of the softmax is empty.
            inside = (query < length) & (key < length)
            return (inside & self.visible(query.clamp(max=last), key.clamp(max=last))) | (query == key)

        filled = length + flex_filler(length)
        return create_block_mask(visible, None, None, filled, filled, device=self.group.device)

    def block_masks(self, dtype: torch.dtype) -> list[list[torch.Tensor]]:
        """The masks of each span's blocks, built once for all layers.

        Each is [1, 1, Q, K] over the group's first K tokens, 0 where a token may look and -inf elsewhere.
        """
        if not self._masks or self._masks[0][0].dtype != dtype:
            self._masks = [
                [self._mask(span, start, dtype) for start in range(span.start, span.end, _QUERY_BLOCK)]
                for span in self.spans
            ]
        return self._masks

    def _mask(self, span: GroupSpan, start: int, dtype: torch.dtype) -> torch.Tensor:
        end = min(start + _QUERY_BLOCK, span.end)
        keys = torch.arange(span.start, end, device=self.group.device)
        allowed = self.visible(keys[start - span.start :, None], keys[None, :])
        mask = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -torch.inf)
        return mask[None, None]


def flex_filler(length: int) -> int:
    """Tokens that pad a row of `length` to whole blocks of FlexAttention."""
    return -length % _FLEX_BLOCK


def set_attention(model: Any, on_gpu: bool) -> AttentionKind:
    """Choose and set the kind of a bare model's attention over packed groups.

    Returns:
        `flex` on CUDA where the model supports it; `groups` where the model passes its arguments on to its attention;
        else `mask`.
    """
    if on_gpu and getattr(model, "_supports_flex_attn", False):
        model.set_attn_implementation("flex_attention")
        return "flex"
    AttentionInterface.register(_NAME, _attend)
    try:
        model.set_attn_implementation(_NAME)
        if _reaches_attention(model):
            return "groups"
    except (ValueError, TypeError):
        # The model has its own attention code.
        pass
    model.set_attn_implementation("sdpa" if getattr(model, "_supports_sdpa", False) else "eager")
    return "mask"


def attention_of(model: Any) -> AttentionKind:
    """Return the choice of `set_attention` for a model, with or without an adapter around it."""
    chosen = model.config._attn_implementation
    return "groups" if chosen == _NAME else "flex" if chosen == "flex_attention" else "mask"


def longest_context(config: Any) -> int | None:
    """Return the smallest attention window of a model's layers, in tokens; None without any.

    Raises:
        ValueError: a layer is not attention, or cannot separate candidates.
    """
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ("full_attention",))
    if strange := kinds - {"full_attention", "sliding_attention"}:
        raise ValueError(f"layers of type {', '.join(sorted(strange))}; expected attention over all tokens or a window")
    window: int | None = getattr(text, "sliding_window", None)
    return window if "sliding_attention" in kinds or getattr(text, "use_sliding_window", False) else None


def _reaches_attention(model: Any) -> bool:
    device = next(model.parameters()).device
    tokens = torch.zeros(1, 3, dtype=torch.long, device=device)
    layout = Layout((GroupSpan(0, 3),), torch.zeros(3, dtype=torch.long), torch.tensor([-1, -1, 0])).to(device)
    training = model.training
    model.eval()
    with torch.no_grad():
        model(input_ids=tokens, position_ids=torch.arange(3, device=device)[None], layout=layout, use_cache=False)
    model.train(training)
    layers: int = model.config.get_text_config().num_hidden_layers
    return layout.visits == layers


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
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """One layer's attention, called by transformers; returns [1, T, H, D]."""
    if softcap is not None or s_aux is not None:
        raise ValueError("attention with a soft cap or sinks")
    shared = query_1HTD.shape[1] != key_1HTD.shape[1]  # Several heads of queries share one of keys and values.
    if layout is None:
        # An ordinary sequence without padding, such as a probe's.
        plain = F.scaled_dot_product_attention(
            query_1HTD, key_1HTD, value_1HTD, None, dropout, is_causal=True, scale=scaling, enable_gqa=shared
        )
        return plain.transpose(1, 2).contiguous(), None
    layout.visits += 1
    lengths = [span.end - span.start for span in layout.spans]
    parts = []
    # One split for all groups: its gradient is one concatenation, where a slice's is a row full of zeros.
    groups = (torch.split(tensor, lengths, 2) for tensor in (query_1HTD, key_1HTD, value_1HTD))
    for masks, query, key, value in zip(layout.block_masks(query_1HTD.dtype), *groups, strict=True):
        for mask, query_1HQD in zip(masks, torch.split(query, _QUERY_BLOCK, 2), strict=True):
            seen = mask.shape[-1]
            key_1HKD, value_1HKD = key[:, :, :seen], value[:, :, :seen]
            part_1HQD = F.scaled_dot_product_attention(
                query_1HQD, key_1HKD, value_1HKD, mask, dropout, scale=scaling, enable_gqa=shared
            )
            parts.append(part_1HQD.transpose(1, 2))
    return torch.cat(parts, 1), None
