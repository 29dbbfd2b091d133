"""The tokens that each stage of a round reads and writes.

Invariant: work is counted once where the engine does it once: a question's prompt for all its candidates, the shared
part of a judge's prompt for all comparisons of a question.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from rlaif.planning.judge_calls import JudgeCalls
from rlaif.planning.questions import Questions
from rlaif.recipe import Recipe
from rlaif.rounds.source import round_size


@dataclass(frozen=True, slots=True)
class Tokens:
    """The work of a stage.

    Attributes:
        requests: generated sequences, or questions of a training.
        sent: prompt tokens of all requests.
        computed: prompt tokens that no prefix cache holds; for a training, all tokens forward and backward.
        written: generated tokens.
    """

    requests: int
    sent: int
    computed: int
    written: int

    def __add__(self, other: "Tokens") -> "Tokens":
        return Tokens(*(mine + others for mine, others in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True, slots=True)
class QuestionSets:
    """The questions of a run, and the mean length of an answer in tokens."""

    train: Questions
    heldout: Questions
    test: Questions | None
    answer_tokens: int

    def answer_all(self) -> Tokens:
        """Return the work of one answer to each held-out and test question."""
        work = answer_once(self.heldout, self.answer_tokens)
        return work + answer_once(self.test, self.answer_tokens) if self.test is not None else work


@dataclass(frozen=True, slots=True)
class RoundTokens:
    """The work of one round by stage; `judge` has an entry for each judge that asks a model."""

    number: int
    questions: int
    sample: Tokens
    judge: tuple[Tokens, ...]
    train: Tokens
    evaluate: Tokens


def round_tokens(recipe: Recipe, number: int, sets: QuestionSets, judges: Sequence[JudgeCalls]) -> RoundTokens:
    """Return the work of round `number`, with the judges that ask a model."""
    questions = round_size(recipe.rounds, number, sets.train.count)
    candidates = recipe.sampling.candidates
    prompt = sets.train.prompt_tokens
    sample = Tokens(
        requests=questions * candidates,
        sent=questions * candidates * prompt,
        computed=questions * prompt,
        written=questions * candidates * sets.answer_tokens,
    )
    trained = questions * (prompt + candidates * sets.answer_tokens) * recipe.training.epochs
    kl = Questions(min(recipe.evaluation.kl_questions, sets.heldout.count), sets.heldout.prompt_tokens)
    return RoundTokens(
        number=number,
        questions=questions,
        sample=sample,
        judge=tuple(judged_tokens(judge, questions, candidates, sets) for judge in judges),
        train=Tokens(questions, trained, trained, 0),
        evaluate=sets.answer_all() + answer_once(kl, sets.answer_tokens),
    )


def answer_once(questions: Questions, answer_tokens: int) -> Tokens:
    """Return the work of one answer to each question."""
    prompts = questions.count * questions.prompt_tokens
    return Tokens(questions.count, prompts, prompts, questions.count * answer_tokens)


def judged_tokens(judge: JudgeCalls, questions: int, candidates: int, sets: QuestionSets) -> Tokens:
    """Return the work of a judge on a number of training questions with `candidates` answers each."""
    calls = math.comb(candidates, judge.answers) * judge.orders
    shared = judge.template_tokens + sets.train.prompt_tokens
    own = judge.answers * sets.answer_tokens
    return Tokens(
        requests=questions * calls * judge.samples,
        sent=questions * calls * judge.samples * (shared + own),
        computed=questions * (shared + calls * own),
        written=questions * calls * judge.samples * judge.output_tokens,
    )
