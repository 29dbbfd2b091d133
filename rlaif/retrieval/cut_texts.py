"""Counts the texts that a tokenizer has cut, so that nobody takes the part that was read for the whole."""

from collections.abc import Sequence
from typing import Any


def count_cut(encoded: Any, tokenizer: Any, *texts: Sequence[str], longest: int) -> int:
    """Return how many texts, or pairs of texts, of a batch lost their ends.

    Args:
        encoded: what the tokenizer of transformers gave for them with `truncation`.
        longest: tokens that it kept at most.
    """
    if tokenizer.is_fast:
        return sum(bool(each.overflowing) for each in encoded.encodings)
    # Tokenizers in Python do not say what they leave out.
    return sum(len(ids) > longest for ids in tokenizer(*map(list, texts), verbose=False)["input_ids"])
