"""Which of a set's items each round takes.

Invariant: it depends only on the set, the sizes of the rounds and the seed, so a run that starts again finds the same
ones. No item is taken again before all others have been taken as often.
"""

import random
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Protocol, TypeVar


class HasId(Protocol):
    """An item of a set, of which no two share an id."""

    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=HasId)


def round_share(items: Sequence[T], sizes: Sequence[int], seed: str) -> list[T]:
    """Return the items of the last of some rounds, in order.

    Rounds take items from a seeded shuffle; when it is used up, from another shuffle. A round that spans two shuffles
    takes no item twice: items of the second that it already has are the first of the next round.

    Args:
        sizes: how many items each round takes, at most all of them.
        seed: of the shuffles; the number of the shuffle is added to it.
    """
    shuffles, first = _last_whole(sizes, len(items))
    left: deque[T] = deque()
    taken: dict[str, T] = {}
    for wanted in sizes[first:]:
        taken, passed = {}, []
        while len(taken) < wanted:
            if not left:
                order = list(items)
                random.Random(f"{seed}-{shuffles}").shuffle(order)
                left.extend(order)
                shuffles += 1
            item = left.popleft()
            if item.id in taken:
                passed.append(item)
            else:
                taken[item.id] = item
        left.extendleft(reversed(passed))
    return list(taken.values())


def _last_whole(sizes: Sequence[int], count: int) -> tuple[int, int]:
    """Return how many shuffles are used up where the last round begins that begins with a new one, and its number."""
    found = (0, 0)
    for number, before in enumerate(accumulate(sizes[:-1]), start=1):
        if before % count == 0:
            found = (before // count, number)
    return found
