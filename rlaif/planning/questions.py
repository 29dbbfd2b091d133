"""The questions of a plan: how many there are, and how long their prompts are.

Invariant: a figure that is estimated or assumed has a line among the assumptions.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError
from rlaif.models.hub import hub_answers
from rlaif.recipe import DatasetQuestions, QuestionSource

# Measured on tables of figures; prose has four.
CHARACTERS_PER_TOKEN = 3
# Tokens that a chat template adds to each message.
_MESSAGE_TOKENS = 6
_MEASURED = 2000
_ASSUMED_QUESTIONS = {"train": 10_000, "heldout": 500, "test": 500}
_ASSUMED_PROMPT_TOKENS = 600


@dataclass(frozen=True, slots=True)
class Questions:
    """The number of a set's questions, and the mean length of a question's prompt in tokens."""

    count: int
    prompt_tokens: int


def measure_questions(
    role: str,
    source: QuestionSource,
    render: Callable[[Question], Messages],
    *,
    count: int | None,
    prompt_tokens: int | None,
    longest: int,
) -> tuple[Questions, list[str]]:
    """Return how many questions a source has and how long their prompts are, with the assumptions made.

    Args:
        role: `train`, `heldout` or `test`.
        source: the recipe's.
        render: returns the policy's prompt for a question.
        count, prompt_tokens: the given figures, or None.
        longest: most tokens that a prompt may have.

    Raises:
        UserError: a file is missing or broken. A dataset that cannot be reached is assumed instead.
    """
    reachable = isinstance(source, DatasetQuestions) and hub_answers()
    try:
        questions = load_questions(source)
    except UserError as error:
        if not isinstance(source, DatasetQuestions) or reachable:
            raise
        expected = count or _expected_count(source, role)
        assumed = Questions(expected, min(prompt_tokens or _ASSUMED_PROMPT_TOKENS, longest))
        figures = f"{assumed.count:,} questions with prompts of {assumed.prompt_tokens} tokens"
        return assumed, [f"{role}: {figures} (--questions, --prompt-tokens), because it could not be read: {error}"]
    notes = []
    measured = _mean_tokens(questions, render)
    if prompt_tokens is None:
        estimate = f"estimated at {CHARACTERS_PER_TOKEN} characters a token"
        notes.append(f"{role}: {len(questions):,} questions, prompts of {measured} tokens on average, {estimate}")
    return Questions(count or len(questions), min(prompt_tokens or measured, longest)), notes


def _mean_tokens(questions: Sequence[Question], render: Callable[[Question], Messages]) -> int:
    sizes = [
        sum(len(message["content"]) / CHARACTERS_PER_TOKEN + _MESSAGE_TOKENS for message in render(question))
        for question in islice(questions, _MEASURED)
    ]
    return max(1, math.ceil(sum(sizes) / max(1, len(sizes))))


def _expected_count(source: DatasetQuestions, role: str) -> int:
    """Return the source's own limit, the size of its split's slice, or a round number."""
    if source.limit is not None:
        return source.limit
    if slice_ := re.fullmatch(r"\w+\[(\d*):(\d+)\]", source.split):
        return max(1, int(slice_[2]) - int(slice_[1] or 0))
    return _ASSUMED_QUESTIONS[role]
