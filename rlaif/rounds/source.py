"""The questions of each round.

Invariant: a round's questions depend only on the recipe, its seed and the train set, so a run that starts again finds
the same ones. No question is taken again before all others have been taken as often.
"""

import random
from collections import deque
from collections.abc import Sequence

from rlaif.data.question import Question
from rlaif.recipe import RoundsSection


def round_size(section: RoundsSection, number: int, available: int) -> int:
    """Return the number of questions that round `number` takes from `available` ones."""
    amount = section.questions[number] if isinstance(section.questions, list) else section.questions
    wanted = max(1, round(amount * available)) if isinstance(amount, float) else amount
    return min(wanted, available)


def round_questions(questions: Sequence[Question], section: RoundsSection, number: int, seed: int) -> list[Question]:
    """Return the questions of round `number`, in order.

    Rounds take questions from a seeded shuffle of the train set; when it is used up, from another shuffle. A round
    that spans two shuffles takes no question twice: questions of the second that it already has are the first of the
    next round.
    """
    shuffles = 0
    left: deque[Question] = deque()
    taken: dict[str, Question] = {}
    for each in range(number + 1):
        wanted = round_size(section, each, len(questions))
        taken, passed = {}, []
        while len(taken) < wanted:
            if not left:
                order = list(questions)
                random.Random(f"questions-{seed}-{shuffles}").shuffle(order)
                left.extend(order)
                shuffles += 1
            question = left.popleft()
            if question.id in taken:
                passed.append(question)
            else:
                taken[question.id] = question
        left.extendleft(reversed(passed))
    return list(taken.values())
