"""The pairs of a reward-model training: which are held out, and how a pair is encoded, as the model's judge will.

Invariant: a question's pairs are all trained on or all held out; otherwise the model would be measured on questions and
answers that it has seen. Both conversations of a pair have the same question and context; no answer is cut; every pair
whose context is cut or that is left out is reported.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.errors import UserError
from rlaif.models.chat_template import ChatTemplate
from rlaif.preferences.reward_pairs import RewardPair

Ids = tuple[list[int], list[int]]


def held_out(questions: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Return the questions to hold out: the same for the same questions and seed, in any order.

    Args:
        questions: may repeat.
        share: of the distinct questions, in [0, 1); at least one question where it is above 0.

    Raises:
        UserError: no question would be left to train on.
    """
    distinct = sorted(set(questions), key=lambda text: hashlib.sha256(f"{seed}\0{text}".encode()).digest())
    count = max(1, round(share * len(distinct))) if share > 0 else 0
    if count >= len(distinct):
        raise UserError(
            f"--heldout-share {share:g}: all {len(distinct)} questions would be held out; expected fewer, or 0"
        )
    return frozenset(distinct[:count])


def always_held_out(question: str, share: float, seed: int) -> bool:
    """Return whether a question is held out in every training of a run, however many questions there are.

    Args:
        share: of all questions that are held out, in [0, 1].
    """
    digest = hashlib.sha256(f"{seed}\0{question}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


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
    """Encode pairs with a model's own fast tokenizer and chat template, up to `max_length` tokens a conversation."""
    rows: list[dict[str, Any]] = []
    cut: list[str] = []
    too_long: list[str] = []
    chat_template = ChatTemplate(tokenizer)
    for pair in pairs:
        ids = _ids(pair, chat_template, pair.context)
        if _longest(ids) > max_length:
            shorter = _shortened(pair, tokenizer, chat_template, ids, max_length=max_length)
            if shorter is None:
                too_long.append(pair.id)
                continue
            ids = shorter
            cut.append(pair.id)
        rows.append({"id": pair.id, "chosen_ids": ids[0], "rejected_ids": ids[1]})
    return EncodedPairs(rows, cut, too_long)


def _shortened(
    pair: RewardPair, tokenizer: Any, chat_template: ChatTemplate, ids: Ids, *, max_length: int
) -> Ids | None:
    """Cut as little of the context's beginning as makes both conversations fit; None if nothing does."""
    if not pair.context:
        return None
    encoded = tokenizer(pair.context, add_special_tokens=False, return_offsets_mapping=True)
    starts = [start for start, _ in encoded["offset_mapping"]]
    drop = 0
    while (excess := _longest(ids) - max_length) > 0:
        # A cut can change how neighbouring characters are encoded, so one step may not be enough.
        drop += excess
        if drop >= len(starts):
            ids = _ids(pair, chat_template, "")
            return ids if _longest(ids) <= max_length else None
        ids = _ids(pair, chat_template, pair.context[starts[drop] :])
    return ids


def _ids(pair: RewardPair, chat_template: ChatTemplate, context: str) -> Ids:
    chosen, rejected = pair.conversations(context)
    try:
        return chat_template.conversation_ids(chosen), chat_template.conversation_ids(rejected)
    except UserError as error:
        raise UserError(f"{pair.id}: {error}") from None


def _longest(ids: Ids) -> int:
    return max(map(len, ids))
