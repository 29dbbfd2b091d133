"""What judges that rate one answer at a time share."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from rlaif.judges.decisions import candidates_of
from rlaif.judges.judge import Comparison

R = TypeVar("R")


async def rate_distinct(
    texts: Sequence[str],
    comparisons: Sequence[Comparison] | None,
    rate: Callable[[list[str]], Awaitable[Sequence[R]]],
) -> list[tuple[int, R, bool]]:
    """Rate the candidates of the comparisons, equal texts once, in one call.

    Args:
        texts: of all candidates.
        comparisons: what is to be decided; None is every two candidates.
        rate: returns the ratings of some texts, in order; not called without a text.

    Returns:
        Of each candidate, sorted: its index, its rating, and whether it is the one that paid for it.
    """
    wanted = candidates_of(comparisons, len(texts))
    # By text: the first candidate that has it, which pays.
    payers = {texts[index]: index for index in reversed(wanted)}
    distinct = sorted(payers, key=payers.__getitem__)
    ratings = dict(zip(distinct, await rate(distinct) if distinct else [], strict=True))
    return [(index, ratings[texts[index]], payers[texts[index]] == index) for index in wanted]
