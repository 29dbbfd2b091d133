"""The token that pads the conversations of a sequence classifier to one length.

transformers reads a classifier's score at the last token that is not its `pad_token_id`. Where that is the end token, a
conversation that ends with the end token is scored one token early, alone and in batches.

Invariant: the padding is no conversation's last token, so every conversation is scored at its last token.
"""

from collections.abc import Collection, Sequence
from typing import Any


def named_padding(tokenizer: Any, last: Collection[int], vocabulary: int) -> int | None:
    """Return the tokenizer's own padding, or else another special token of it, that may pad; None without any.

    Args:
        last: last tokens of the conversations.
        vocabulary: tokens that the model has an embedding of.
    """
    own = [tokenizer.pad_token_id, *tokenizer.all_special_ids, *sorted(tokenizer.added_tokens_decoder)]
    return next((token for token in own if _may_pad(token, last, vocabulary)), None)


def padding_of(tokenizer: Any, last: Collection[int], vocabulary: int) -> int:
    """Return a token that may pad: a special token, or else any; the model does not see it."""
    named = named_padding(tokenizer, last, vocabulary)
    if named is not None:
        return named
    return next(token for token in range(vocabulary) if _may_pad(token, last, vocabulary))


def pad_right(rows: Sequence[Sequence[int]], padding: int) -> tuple[list[list[int]], list[list[int]]]:
    """Return rows of one length, and their masks with 1 for each token of their own."""
    length = max(map(len, rows))
    padded = [[*row, *[padding] * (length - len(row))] for row in rows]
    return padded, [[1] * len(row) + [0] * (length - len(row)) for row in rows]


def set_padding(model: Any, padding: int | None) -> None:
    """Name a classifier's padding; None lets it take one conversation at a time only."""
    model.config.get_text_config().pad_token_id = padding


def _may_pad(token: int | None, last: Collection[int], vocabulary: int) -> bool:
    return token is not None and 0 <= token < vocabulary and token not in last
