"""The tokens of a run: of its questions, of its judges' requests, and of each stage of a round.

Invariant: work is counted once where the engine does it once: a question's prompt for all its candidates, the shared
part of a judge's prompt for all comparisons of a question. A figure that is estimated or assumed has a line among the
assumptions.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal, TypeVar

from rlaif.data.demonstrations import read_demonstrations
from rlaif.data.increments import round_size
from rlaif.data.question import Question
from rlaif.data.sources import load_questions
from rlaif.errors import UserError
from rlaif.io.column_names import ColumnNames
from rlaif.judges.llm import LlmSpec, criteria_tokens
from rlaif.judges.panel import PanelSpec
from rlaif.judges.spec import JudgeSpec
from rlaif.models.resolve import hub_answers
from rlaif.prompts.question_prompt import question_prompt
from rlaif.prompts.template import PromptTemplate, load_template
from rlaif.recipe import (
    DatasetQuestions,
    DemonstrationFile,
    DocumentsSection,
    GoldAnswers,
    PhaseSection,
    Recipe,
    SftPhase,
    amounts_of,
)
from rlaif.recipe.judge import OpenAIBackend, VllmBackend

# Measured on tables of figures, which questions have; the template and the rubric of a judge are prose.
_CHARACTERS_PER_TOKEN, _CHARACTERS_PER_TOKEN_OF_PROSE = 3, 4
# Of the chunks of filings, in which figures take several tokens.
_TOKENS_PER_WORD = 2.0
# Tokens that a chat template adds to each message.
_MESSAGE_TOKENS = 6
_MEASURED = 2000
_ASSUMED_QUESTIONS = {"train": 10_000, "heldout": 500, "test": 500}
_ASSUMED_PROMPT_TOKENS = 600

BackendT = TypeVar("BackendT", VllmBackend, OpenAIBackend)


@dataclass(frozen=True, slots=True)
class Questions:
    """The number of a set's questions, and the mean length of a question's prompt in tokens.

    Attributes:
        criteria_tokens: most tokens of a question's own criteria in a judge's prompt.
    """

    count: int
    prompt_tokens: int
    criteria_tokens: int = 0


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


def total(parts: Iterable[Tokens]) -> Tokens:
    """Return the work of several stages together."""
    figures = [(part.requests, part.sent, part.computed, part.written) for part in parts]
    return Tokens(*(sum(column) for column in zip(*figures, strict=True)))


@dataclass(frozen=True, slots=True)
class QuestionSets:
    """The questions of a run, and the mean length of an answer in tokens.

    Attributes:
        of_phases: of how many each phase takes its amounts: of questions, or of the demonstrations of its file.
    """

    train: Questions
    heldout: Questions
    test: Questions | None
    answer_tokens: int
    of_phases: tuple[int, ...]

    def answer_once(self, *more: Questions) -> Tokens:
        """Return the work of one answer to each held-out and test question, and to each of `more`."""
        answered = [questions for questions in (self.heldout, self.test, *more) if questions is not None]
        count = sum(questions.count for questions in answered)
        prompts = sum(questions.count * questions.prompt_tokens for questions in answered)
        return Tokens(count, prompts, prompts, count * self.answer_tokens)


@dataclass(frozen=True, slots=True)
class JudgeCalls:
    """One judge that asks a model to compare two answers or to rate one.

    Attributes:
        model: `policy` for the initial policy, or a model of its own.
        answers: per request: 2 to compare, 1 to rate.
        orders: in which a comparison is asked, 1 or 2.
        samples: of the model's answer to each request.
        template_tokens: of the prompt without question, context and answers.
        output_tokens: most tokens of the model's answer.
        settles: whether a panel asks the judge only if the judges before it do not decide.
        file_sha: sha256 of the spec that it belongs to, which phases name.
    """

    name: str
    model: str
    answers: int
    orders: int
    samples: int
    template_tokens: int
    output_tokens: int
    settles: bool
    file_sha: str


@dataclass(frozen=True, slots=True)
class RoundTokens:
    """The work of one round by stage; `judge` has an entry for each judge that asks a model."""

    number: int
    questions: int
    sample: Tokens
    judge: tuple[Tokens, ...]
    train: Tokens
    evaluate: Tokens


def measure_questions(
    recipe: Recipe,
    role: Literal["train", "heldout", "test"],
    judges: Sequence[JudgeSpec],
    *,
    count: int | None,
    prompt_tokens: int | None,
) -> tuple[Questions, list[str]]:
    """Return how many questions a set has and how long their prompts are, with the assumptions made.

    A dataset that cannot be reached is assumed. The figures `count` and `prompt_tokens` replace the measured ones.
    """
    template, source = load_template(recipe.policy.prompt), getattr(recipe.questions, role)
    longest = recipe.policy.max_length - recipe.sampling.max_tokens
    reachable = isinstance(source, DatasetQuestions) and hub_answers()
    try:
        questions = load_questions(source, recipe.policy.tables, documents=recipe.questions.documents is not None)
    except UserError as error:
        if not isinstance(source, DatasetQuestions) or reachable:
            raise
        expected = count or _expected_count(source, role)
        assumed = Questions(expected, min(prompt_tokens or _ASSUMED_PROMPT_TOKENS, longest))
        figures = f"{assumed.count:,} questions with prompts of {assumed.prompt_tokens} tokens"
        return assumed, [f"{role}: {figures} (--questions, --prompt-tokens), because it could not be read: {error}"]
    notes = []
    retrieved, note = context_tokens(questions, recipe.questions.documents)
    measured = _mean_tokens(questions, template) + retrieved
    if note and prompt_tokens is None:
        notes.append(f"{role}: {note}")
    if prompt_tokens is None:
        estimate = f"estimated at {_CHARACTERS_PER_TOKEN} characters a token"
        notes.append(f"{role}: {len(questions):,} questions, prompts of {measured} tokens on average, {estimate}")
    length = min(prompt_tokens or measured, longest)
    return Questions(count or len(questions), length, criteria_tokens(judges, questions)), notes


def context_tokens(questions: Sequence[Question], section: DocumentsSection | None) -> tuple[int, str]:
    """Return the tokens that contexts from documents add to a prompt, on average over questions, and the assumption.

    No document is read.
    """
    lacking = [question for question in questions if not question.context]
    if section is None or not lacking:
        return 0, ""
    if section.contexts == "gold":
        characters = sum(len(question.evidence or "") for question in lacking)
        return math.ceil(characters / _CHARACTERS_PER_TOKEN / len(questions)), ""
    limits = []
    if section.max_tokens is not None:
        limits.append((section.max_tokens, "questions.documents.max_tokens"))
    if section.top_k is not None:
        words = math.ceil(section.chunk_words * _TOKENS_PER_WORD)
        chunks = "1 chunk" if section.top_k == 1 else f"{section.top_k} chunks"
        limits.append((section.top_k * words, f"{chunks} of {section.chunk_words} words"))
    tokens, what = min(limits)
    assumed = f"contexts of {len(lacking):,} questions are assumed at {tokens:,} tokens ({what}); no document is read"
    return math.ceil(tokens * len(lacking) / len(questions)), assumed


def _mean_tokens(questions: Sequence[Question], template: PromptTemplate) -> int:
    sizes = []
    for question in islice(questions, _MEASURED):
        messages = question_prompt(template, question)
        sizes.append(sum(len(message["content"]) / _CHARACTERS_PER_TOKEN + _MESSAGE_TOKENS for message in messages))
    return max(1, math.ceil(sum(sizes) / max(1, len(sizes))))


def _expected_count(source: DatasetQuestions, role: str) -> int:
    """Return the source's own limit, the size of its split's slice, or a round number."""
    if source.limit is not None:
        return source.limit
    if slice_ := re.fullmatch(r"\w+\[(\d*):(\d+)\]", source.split):
        return max(1, int(slice_[2]) - int(slice_[1] or 0))
    return _ASSUMED_QUESTIONS[role]


def judge_calls(spec: JudgeSpec, backend: type[BackendT]) -> list[tuple[JudgeCalls, BackendT]]:
    """Return the judges of a file that ask a model behind a kind of backend, in order."""
    in_turn = isinstance(spec, PanelSpec) and spec.mode == "first-to-decide"
    found = []
    for position, leaf in enumerate(spec.leaves):
        if not isinstance(leaf, LlmSpec) or not isinstance(leaf.backend, backend):
            continue
        answers = {"answer_a": "", "answer_b": ""} if leaf.pairwise else {"answer": ""}
        messages = leaf.render(Question("", ""), **answers)
        calls = JudgeCalls(
            name=leaf.name,
            model=leaf.model,
            answers=2 if leaf.pairwise else 1,
            orders=2 if leaf.pairwise and leaf.swap_positions else 1,
            samples=leaf.samples if leaf.replies_with_text else 1,
            template_tokens=sum(len(message["content"]) for message in messages) // _CHARACTERS_PER_TOKEN_OF_PROSE,
            output_tokens=leaf.max_tokens if leaf.replies_with_text else 1,
            settles=in_turn and position > 0,
            file_sha=spec.sha,
        )
        found.append((calls, leaf.backend))
    return found


def round_tokens(
    recipe: Recipe, number: int, sets: QuestionSets, judges: Sequence[JudgeCalls], asked: Collection[str]
) -> RoundTokens:
    """Return the work of round `number`.

    Args:
        judges: those that ask a model, of all phases.
        asked: `JudgeCalls.file_sha` of those that the round's phase asks.
    """
    phase = recipe.phase_of(number)
    amount = amounts_of(recipe.rounds.questions, number + 1)[-1]
    questions = round_size(amount, sets.of_phases[recipe.locate(number)[0]])
    prompt, candidates = sets.train.prompt_tokens, phase.sampling.candidates if phase.sampling else 0
    sample = Tokens(
        requests=questions * candidates,
        sent=questions * candidates * prompt,
        computed=questions * prompt if candidates else 0,
        written=questions * candidates * sets.answer_tokens,
    )
    trained = questions * (prompt + learned_answers(phase) * sets.answer_tokens) * phase.training.epochs
    kl = Questions(min(recipe.evaluation.kl_questions, sets.heldout.count), sets.heldout.prompt_tokens)
    return RoundTokens(
        number=number,
        questions=questions,
        sample=sample,
        judge=tuple(
            judged_tokens(judge, questions if candidates and judge.file_sha in asked else 0, max(1, candidates), sets)
            for judge in judges
        ),
        train=Tokens(questions, trained, trained, 0),
        evaluate=sets.answer_once(kl),
    )


def learned_answers(phase: PhaseSection) -> int:
    """Return the most answers to a question that a phase learns from: demonstrations, or all candidates."""
    if isinstance(phase, SftPhase) and isinstance(phase.demonstrations, GoldAnswers):
        return 1 + phase.demonstrations.table_questions
    return 1 if phase.sampling is None or isinstance(phase, SftPhase) else phase.sampling.candidates


def phase_sizes(recipe: Recipe, train: int) -> tuple[int, ...]:
    """Return `QuestionSets.of_phases`; `train` counts the train questions."""
    return tuple(
        len(read_demonstrations(phase.demonstrations.path, ColumnNames(phase.demonstrations.columns)).rows)
        if isinstance(phase, SftPhase) and isinstance(phase.demonstrations, DemonstrationFile)
        else train
        for phase in recipe.every_phase
    )


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
