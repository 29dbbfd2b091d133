"""Which questions a round takes.

Invariant: a round's questions depend on the recipe, its seed and the train set alone, so that a run that starts
again finds the same ones; and no question comes twice before every one has come once.
"""

import random
from collections.abc import Sequence

from rlaif.questions.prompt import Prompt
from rlaif.recipe import RoundsSection


def round_size(section: RoundsSection, number: int, available: int) -> int:
    """Return how many questions round `number` takes of a train set of `available`."""
    amount = section.questions[number] if isinstance(section.questions, list) else section.questions
    wanted = max(1, round(amount * available)) if isinstance(amount, float) else amount
    return min(wanted, available)


def round_prompts(prompts: Sequence[Prompt], section: RoundsSection, number: int, seed: int) -> list[Prompt]:
    """Return the prompts of round `number`, in order.

    The train set is dealt in a seeded order; when it is used up it is dealt again in another order. A round that
    spans two deals takes no prompt twice.
    """
    start = sum(round_size(section, earlier, len(prompts)) for earlier in range(number))
    wanted = round_size(section, number, len(prompts))
    taken: dict[str, Prompt] = {}
    deal, offset = divmod(start, len(prompts))
    while len(taken) < wanted:
        for prompt in _deal(prompts, deal, seed)[offset:]:
            taken.setdefault(prompt.id, prompt)
            if len(taken) == wanted:
                break
        deal, offset = deal + 1, 0
    return list(taken.values())


def _deal(prompts: Sequence[Prompt], deal: int, seed: int) -> list[Prompt]:
    order = list(prompts)
    random.Random(f"questions-{seed}-{deal}").shuffle(order)
    return order
