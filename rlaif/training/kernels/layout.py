"""Which tokens of a packed row may look at which: a candidate's at its prompt and at itself.

Invariant: what a token may look at is what it could look at if its prompt and candidate were a sequence by themselves.

Suffixes name axes: T tokens of the row, Q and K tokens of a block that look and are seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

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
        position: [T] int64, index of each token in the sequence of its prompt and candidate alone.
    """

    spans: Sequence[GroupSpan]
    group: torch.Tensor
    candidate: torch.Tensor
    position: torch.Tensor
    _masks: dict[tuple[torch.dtype, int | None], list[list[torch.Tensor]]] = field(default_factory=dict)

    def to(self, device: torch.device) -> "Layout":
        return Layout(self.spans, self.group.to(device), self.candidate.to(device), self.position.to(device))

    def visible(self, query: torch.Tensor, key: torch.Tensor, window: int | None = None) -> torch.Tensor:
        """Whether tokens at rows' indices `query` may look at those at `key`: earlier ones of its prompt and candidate.

        With a window, only at the last `window` tokens, itself among them.
        """
        same_group = self.group[query] == self.group[key]
        reach = (self.candidate[key] == -1) | (self.candidate[key] == self.candidate[query])
        allowed = (query >= key) & same_group & reach
        return allowed if window is None else allowed & (self.position[query] - self.position[key] < window)

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

    def block_masks(self, dtype: torch.dtype, window: int | None = None) -> list[list[torch.Tensor]]:
        """The masks of each span's blocks, built once for all layers of a window.

        Each is [1, 1, Q, K] over the group's first K tokens, 0 where a token may look and -inf elsewhere.
        """
        if (dtype, window) not in self._masks:
            self._masks[dtype, window] = [
                [self._mask(span, start, dtype, window) for start in range(span.start, span.end, _QUERY_BLOCK)]
                for span in self.spans
            ]
        return self._masks[dtype, window]

    def _mask(self, span: GroupSpan, start: int, dtype: torch.dtype, window: int | None) -> torch.Tensor:
        end = min(start + _QUERY_BLOCK, span.end)
        keys = torch.arange(span.start, end, device=self.group.device)
        allowed = self.visible(keys[start - span.start :, None], keys[None, :], window)
        return additive(allowed, dtype)[None, None]


def plain_layout(length: int, device: torch.device) -> Layout:
    """The layout of one ordinary sequence."""
    every = torch.arange(length, device=device)
    return Layout((GroupSpan(0, length),), torch.zeros_like(every), torch.full_like(every, -1), every)


def additive(allowed: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The mask that attention adds to its scores: 0 where a token may look and -inf elsewhere."""
    return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill_(~allowed, -torch.inf)


def query_blocks(tensor_1HTD: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The blocks of `Layout.block_masks`, along a group's tokens."""
    return torch.split(tensor_1HTD, _QUERY_BLOCK, 2)


def flex_filler(length: int) -> int:
    """Tokens that pad a row of `length` to whole blocks of FlexAttention."""
    return -length % _FLEX_BLOCK
