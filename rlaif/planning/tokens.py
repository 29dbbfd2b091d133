"""How much there is to read and to write: questions, and the tokens of each stage of a round.

Invariant: what is counted is the work that the stages do - a question's prompt once for all its candidates, a judge's
shared part once for all its comparisons - and what cannot be counted has a line among the assumptions.
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
from rlaif.planning.judges import JudgeCalls
from rlaif.recipe import DatasetQuestions, QuestionSource, Recipe
from rlaif.rounds.source import round_size

# As measured on tables of figures; prose has four.
CHARACTERS_PER_TOKEN = 3
# Of a chat template, around each message.
_MESSAGE_TOKENS = 6
_MEASURED = 2000
_ASSUMED_QUESTIONS = {"train": 10_000, "heldout": 500, "test": 500}
_ASSUMED_PROMPT_TOKENS = 600


@dataclass(frozen=True, slots=True)
class Questions:
    """A set of questions: how many, and how long a prompt is in the mean, in tokens."""

    count: int
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """What a stage reads and writes.

    Attributes:
        requests: sequences that are answered, or questions that are trained on.
        sent: prompt tokens of all of them.
        computed: of those, what no prefix cache has; for a training, all tokens forward and backward.
        written: tokens generated.
    """

    requests: int
    sent: int
    computed: int
    written: int

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(
            self.requests + other.requests,
            self.sent + other.sent,
            self.computed + other.computed,
            self.written + other.written,
        )


NOTHING = Tokens(0, 0, 0, 0)


def measure_questions(
    role: str,
    source: QuestionSource,
    render: Callable[[Question], Messages],
    *,
    count: int | None,
    prompt_tokens: int | None,
    longest: int,
) -> tuple[Questions, list[str]]:
    """Return how many questions a source has and how long their prompts are, with the assumptions behind it.

    Args:
        role: `train`, `heldout` or `test`.
        source: the recipe's.
        render: gives the chat that the policy is asked for a prompt.
        count, prompt_tokens: what a person says instead, or None.
        longest: most tokens that a prompt may have.

    Raises:
        UserError: a file is missing or broken. A dataset that cannot be reached is an assumption instead.
    """
    reachable = isinstance(source, DatasetQuestions) and hub_answers()
    try:
        prompts = load_questions(source)
    except UserError as error:
        if not isinstance(source, DatasetQuestions) or reachable:
            raise
        assumed = Questions(
            count or _expected_count(source, role), min(prompt_tokens or _ASSUMED_PROMPT_TOKENS, longest)
        )
        how = f"{assumed.count:,} questions with prompts of {assumed.prompt_tokens} tokens"
        return assumed, [f"{role}: {how} (--questions, --prompt-tokens), since it could not be read: {error}"]
    notes = []
    measured = _mean_tokens(prompts, render)
    if prompt_tokens is None:
        how = f"estimated at {CHARACTERS_PER_TOKEN} characters a token"
        notes.append(f"{role}: {len(prompts):,} questions, prompts of {measured} tokens in the mean, {how}")
    return Questions(count or len(prompts), min(prompt_tokens or measured, longest)), notes


def _mean_tokens(prompts: Sequence[Question], render: Callable[[Question], Messages]) -> int:
    sizes = [
        sum(len(message["content"]) / CHARACTERS_PER_TOKEN + _MESSAGE_TOKENS for message in render(prompt))
        for prompt in islice(prompts, _MEASURED)
    ]
    return max(1, math.ceil(sum(sizes) / max(1, len(sizes))))


def _expected_count(source: DatasetQuestions, role: str) -> int:
    """Return what the source's own limit or its split's slice says, else a round number."""
    if source.limit is not None:
        return source.limit
    slice_ = re.fullmatch(r"\w+\[(\d*):(\d+)\]", source.split)
    if slice_:
        return max(1, int(slice_[2]) - int(slice_[1] or 0))
    return _ASSUMED_QUESTIONS[role]


@dataclass(frozen=True, slots=True)
class RoundTokens:
    """The work of one round, stage by stage; `judge` has an entry for each judge that asks a model."""

    number: int
    questions: int
    sample: Tokens
    judge: tuple[Tokens, ...]
    train: Tokens
    evaluate: Tokens


def round_tokens(
    recipe: Recipe,
    number: int,
    train: Questions,
    heldout: Questions,
    test: Questions | None,
    judges: Sequence[JudgeCalls],
    answer_tokens: int,
) -> RoundTokens:
    """Return the work of round `number`.

    Args:
        recipe: the run's.
        number: of the round.
        train, heldout, test: the questions.
        judges: those that ask a model.
        answer_tokens: of an answer.
    """
    questions = round_size(recipe.rounds, number, train.count)
    candidates = recipe.sampling.candidates
    sample = Tokens(
        requests=questions * candidates,
        sent=questions * candidates * train.prompt_tokens,
        computed=questions * train.prompt_tokens,
        written=questions * candidates * answer_tokens,
    )
    group = train.prompt_tokens + candidates * answer_tokens
    trained = questions * group * recipe.training.epochs
    evaluated = answer_once(heldout, answer_tokens)
    if test is not None:
        evaluated += answer_once(test, answer_tokens)
    measured = Questions(min(recipe.evaluation.kl_questions, heldout.count), heldout.prompt_tokens)
    evaluated += answer_once(measured, answer_tokens)
    return RoundTokens(
        number=number,
        questions=questions,
        sample=sample,
        judge=tuple(
            judged_tokens(judge, questions, candidates, train.prompt_tokens, answer_tokens) for judge in judges
        ),
        train=Tokens(questions, trained, trained, 0),
        evaluate=evaluated,
    )


def answer_once(questions: Questions, answer_tokens: int) -> Tokens:
    """Return the work of one answer to each question."""
    prompts = questions.count * questions.prompt_tokens
    return Tokens(questions.count, prompts, prompts, questions.count * answer_tokens)


def judged_tokens(judge: JudgeCalls, questions: int, candidates: int, prompt_tokens: int, answer_tokens: int) -> Tokens:
    """Return what a judge reads and writes.

    Args:
        judge: how it asks.
        questions, candidates: how many, and how many answers to each.
        prompt_tokens, answer_tokens: of a question's prompt and of an answer.
    """
    calls = math.comb(candidates, judge.answers) * judge.orders
    shared = judge.template_tokens + prompt_tokens
    own = judge.answers * answer_tokens
    return Tokens(
        requests=questions * calls * judge.samples,
        sent=questions * calls * judge.samples * (shared + own),
        computed=questions * (shared + calls * own),
        written=questions * calls * judge.samples * judge.output_tokens,
    )
