"""Which questions a reward model is not trained on.

Invariant: a question's pairs are all trained on or all held out; otherwise the model would be measured on questions and
answers that it has seen.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlaif.errors import UserError
from rlaif.training.reward.pairs import RewardPair


@dataclass(frozen=True, slots=True)
class SplitPairs:
    """Pairs to train on, and pairs to measure on."""

    train: tuple[RewardPair, ...]
    heldout: tuple[RewardPair, ...]


def split_pairs(pairs: Sequence[RewardPair], share: float, seed: int) -> SplitPairs:
    """Split pairs by `held_out` of their questions."""
    out = held_out((pair.question for pair in pairs), share, seed)
    return SplitPairs(
        tuple(pair for pair in pairs if pair.question not in out), tuple(pair for pair in pairs if pair.question in out)
    )


def held_out(questions: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """Return the questions to hold out: the same for the same questions and seed, in any order.

    Args:
        questions: may repeat.
        share: of the distinct questions, in [0, 1); at least one question where it is above 0.
        seed: of the draw.

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
