"""How many items of a set each round takes, and which: questions, or demonstrations of a file."""

from collections.abc import Sequence
from typing import TypeVar

from rlaif.data.round_shares import HasId, round_share
from rlaif.recipe import Amount

T = TypeVar("T", bound=HasId)


def round_size(amount: Amount, available: int) -> int:
    """Return the number of items that an amount is, of `available` ones."""
    wanted = max(1, round(amount * available)) if isinstance(amount, float) else amount
    return min(wanted, available)


def round_items(items: Sequence[T], amounts: Sequence[Amount], seed: int, what: str = "questions") -> list[T]:
    """Return the items of a round, in order; see `round_share`.

    Args:
        amounts: of each round so far that takes from the set, the last one for this round.
        what: what the items are; sets of different kinds are shuffled differently.
    """
    return round_share(items, [round_size(amount, len(items)) for amount in amounts], f"{what}-{seed}")
