"""Which questions a round takes.

Invariant: a round's questions depend on the recipe, its seed and the train set alone, so that a run that starts
again finds the same ones; and no question comes once more before every other has come as often.
"""

import random
from collections import deque
from collections.abc import Sequence

from rlaif.data.question import Question
from rlaif.recipe import RoundsSection


def round_size(section: RoundsSection, number: int, available: int) -> int:
    """Return how many questions round `number` takes of a train set of `available`."""
    amount = section.questions[number] if isinstance(section.questions, list) else section.questions
    wanted = max(1, round(amount * available)) if isinstance(amount, float) else amount
    return min(wanted, available)


def round_questions(prompts: Sequence[Question], section: RoundsSection, number: int, seed: int) -> list[Question]:
    """Return the prompts of round `number`, in order.

    The train set is dealt in a seeded order; when it is used up it is dealt again in another order. A round that
    spans two deals takes no prompt twice: those of the second that it has already are the next round's first.
    """
    deal = 0
    line: deque[Question] = deque()
    taken: dict[str, Question] = {}
    for each in range(number + 1):
        wanted = round_size(section, each, len(prompts))
        taken, passed = {}, []
        while len(taken) < wanted:
            if not line:
                line.extend(_deal(prompts, deal, seed))
                deal += 1
            prompt = line.popleft()
            if prompt.id in taken:
                passed.append(prompt)
            else:
                taken[prompt.id] = prompt
        line.extendleft(reversed(passed))
    return list(taken.values())


def _deal(prompts: Sequence[Question], deal: int, seed: int) -> list[Question]:
    order = list(prompts)
    random.Random(f"questions-{seed}-{deal}").shuffle(order)
    return order
