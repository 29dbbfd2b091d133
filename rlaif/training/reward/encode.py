"""Encodes pairs as a reward model's judge will encode what it scores.

Invariant: both conversations of a pair have the same question and context; no answer is cut; every pair whose context
is cut or that is left out is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.preferences.reward_pairs import RewardPair
from rlaif.prompts.conversation import conversation_ids

Ids = tuple[list[int], list[int]]


@dataclass(frozen=True, slots=True)
class EncodedPairs:
    """Rows to train on, and the pairs that were too long.

    Attributes:
        rows: `id`, `chosen_ids` and `rejected_ids`, as TRL's `RewardTrainer` takes them.
        cut: ids of pairs whose context lost its beginning.
        too_long: ids of pairs that do not fit without any context; they are left out.
    """

    rows: list[dict[str, Any]]
    cut: list[str]
    too_long: list[str]


def encode_pairs(pairs: Sequence[RewardPair], tokenizer: Any, max_length: int) -> EncodedPairs:
    """Encode pairs with a model's own tokenizer and chat template.

    Args:
        pairs: of `read_pairs`.
        tokenizer: a fast one.
        max_length: longest conversation, in tokens.
    """
    rows: list[dict[str, Any]] = []
    cut: list[str] = []
    too_long: list[str] = []
    for pair in pairs:
        ids = _ids(pair, tokenizer, pair.context)
        if _longest(ids) > max_length:
            shorter = _shortened(pair, tokenizer, ids, max_length)
            if shorter is None:
                too_long.append(pair.id)
                continue
            ids = shorter
            cut.append(pair.id)
        rows.append({"id": pair.id, "chosen_ids": ids[0], "rejected_ids": ids[1]})
    return EncodedPairs(rows, cut, too_long)


def _shortened(pair: RewardPair, tokenizer: Any, ids: Ids, max_length: int) -> Ids | None:
    """Cut as little of the context's beginning as makes both conversations fit; None if nothing does."""
    if not pair.context:
        return None
    starts = [start for start, _ in _offsets(tokenizer, pair.context)]
    drop = 0
    while (excess := _longest(ids) - max_length) > 0:
        # A cut can change how neighbouring characters are encoded, so one step may not be enough.
        drop += excess
        if drop >= len(starts):
            ids = _ids(pair, tokenizer, "")
            return ids if _longest(ids) <= max_length else None
        ids = _ids(pair, tokenizer, pair.context[starts[drop] :])
    return ids


def _offsets(tokenizer: Any, text: str) -> list[tuple[int, int]]:
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return list(encoded["offset_mapping"])


def _ids(pair: RewardPair, tokenizer: Any, context: str) -> Ids:
    chosen, rejected = pair.conversations(context)
    return conversation_ids(tokenizer, chosen), conversation_ids(tokenizer, rejected)


def _longest(ids: Ids) -> int:
    return max(map(len, ids))
