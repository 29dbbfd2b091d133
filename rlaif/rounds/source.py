"""The questions of each round, and how many of a set each round takes."""

from collections.abc import Sequence

from rlaif.data.question import Question
from rlaif.data.round_shares import round_share
from rlaif.recipe import RoundsSection


def round_size(section: RoundsSection, number: int, available: int) -> int:
    """Return the number of questions that round `number` takes from `available` ones."""
    amount = section.questions[number] if isinstance(section.questions, list) else section.questions
    wanted = max(1, round(amount * available)) if isinstance(amount, float) else amount
    return min(wanted, available)


def round_questions(questions: Sequence[Question], section: RoundsSection, number: int, seed: int) -> list[Question]:
    """Return the questions of round `number`, in order; see `round_share`."""
    sizes = [round_size(section, each, len(questions)) for each in range(number + 1)]
    return round_share(questions, sizes, f"questions-{seed}")
