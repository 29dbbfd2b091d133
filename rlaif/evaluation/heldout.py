"""A policy's answers to questions that it never trains on, and their metrics.

Invariant: every metric has an interval, and a question that could not be answered counts as wrong.
"""

import asyncio
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rlaif.chat import Messages, visible_text
from rlaif.data.gold_answer import shown_gold_answer
from rlaif.data.question import Question
from rlaif.data.question_score import score_question
from rlaif.documents.passage import supporting_passage
from rlaif.evaluation.citing import OF_RETRIEVED, PLACE, cited_fields
from rlaif.grading.score import contains_gold_answer
from rlaif.inference.requests import SampleRequest, ScoreRequest
from rlaif.inference.vllm.pool import EnginePool
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.prompts.question_prompt import shown_question
from rlaif.stats.bootstrap import Estimate, mean_interval, paired_difference, win_rate


@dataclass(frozen=True, slots=True)
class HeldoutAnswer:
    """A policy's greedy answer to one question; a row of `answers.parquet`.

    Attributes:
        reference: the question's gold answer, several in one text, or None.
        answer: "" where there is none.
        score: 1 if the answer is right, 0 if it is wrong, token F1 where that cannot be told; None without a gold
            answer. Of several gold answers the best counts, here and below.
        exact: whether it is the gold answer's figure, or its text up to case, articles and punctuation.
        f1: token F1 against the gold answer.
        tokens: length of the answer.
        failure: why there is no answer, or None.
        contained: whether the gold answer is anywhere in the answer; None without one, and in files of before it.
        chunks: ids of those that the context was retrieved as, best first; None where it was not retrieved.
        chunk, document, page, passage: the chunk that supports the answer best, where it is, and the part of it that
            does; None where none does and of a refusal.
        withheld: whether the evidence was withheld, so that a refusal is right.
        refused: whether the answer is a refusal; None where the context was not retrieved.
    """

    id: str
    question: str
    context: str
    reference: str | None
    answer: str
    score: float | None
    exact: bool | None
    f1: float | None
    tokens: int
    failure: str | None
    contained: bool | None = None
    chunks: tuple[str, ...] | None = None
    chunk: str | None = None
    document: str | None = None
    page: int | None = None
    passage: str | None = None
    withheld: bool = False
    refused: bool | None = None


async def answer_questions(
    pool: EnginePool,
    questions: Sequence[Question],
    render: Callable[[Question], Messages],
    *,
    max_tokens: int,
    progress: Progress,
    refusal: str = "",
) -> list[HeldoutAnswer]:
    """Answer every question once, greedily, with the pool's current policy. One without a context to ask it with fails.

    Args:
        refusal: the phrase of a plain refusal, where contexts are retrieved.
    """

    async def answer(question: Question) -> HeldoutAnswer:
        text, tokens, failure = "", list[int](), question.unasked or None
        if failure is None:
            request = SampleRequest(question.id, render(question), temperature=0.0, max_tokens=max_tokens)
            reply, _ = await pool.sample(request)
            failure = reply.failure
            if reply.candidates:
                text, tokens = reply.candidates[0].text, reply.candidates[0].token_ids
        gold, match = question.gold_answer, score_question(question, text)
        progress.advance(1)
        return HeldoutAnswer(
            id=question.id,
            question=shown_question(question),
            context=question.context,
            reference=None if gold is None else shown_gold_answer(gold),
            answer=text,
            score=match.score if match else None,
            exact=match.exact or (match.numeric and match.outcome == "right") if match else None,
            f1=match.f1 if match else None,
            tokens=len(tokens),
            failure=failure,
            contained=None if match is None or gold is None else contains_gold_answer(visible_text(text), gold),
            **cited_fields(question, text, refusal),
        )

    return list(await asyncio.gather(*(answer(question) for question in questions)))


def metrics_of(answers: Sequence[HeldoutAnswer], confidence: float, seed: int) -> dict[str, Estimate]:
    """Return the means, with bootstrap intervals, of what can be measured on one policy's answers alone."""
    scored = [answer for answer in answers if answer.score is not None]
    values = {"length": [float(answer.tokens) for answer in answers]}
    if scored:
        values["score"] = [float(answer.score or 0.0) for answer in scored]
        values["exact"] = [float(answer.exact or 0.0) for answer in scored]
        values["f1"] = [float(answer.f1 or 0.0) for answer in scored]
        contained = [float(answer.contained) for answer in scored if answer.contained is not None]
        if len(contained) == len(scored):
            values["contained"] = contained
    for name, withheld in (("refused", False), ("refused_withheld", True)):
        refused = [each.refused for each in answers if each.refused is not None and each.withheld is withheld]
        if refused:
            values[name] = [float(each) for each in refused]
    return {name: mean_interval(each, confidence, seed) for name, each in values.items()}


def answer_rows(answers: Sequence[HeldoutAnswer]) -> list[dict[str, Any]]:
    """Return the rows of `answers.parquet`; where no context was retrieved, without the columns of those that are."""
    dropped = () if any(answer.chunks is not None for answer in answers) else OF_RETRIEVED
    return [{name: value for name, value in asdict(each).items() if name not in dropped} for each in answers]


def unseen_metrics(answers: Sequence[HeldoutAnswer], confidence: float, seed: int) -> dict[str, Estimate]:
    """Return the score on the test questions, which no gate has seen; nothing where none has a gold answer."""
    scores = [answer.score for answer in answers if answer.score is not None]
    return {"test_score": mean_interval(scores, confidence, seed)} if scores else {}


def predictions_csv(answers: Sequence[HeldoutAnswer]) -> bytes:
    """Return `id, answer, passage` as CSV; the passage is the part of the context that supports the answer best.

    Where contexts were retrieved, `chunk, document, page` follow: the id of the passage's chunk, and where it is. They
    are empty of an answer that no chunk supports, as of a refusal.
    """
    retrieved = any(answer.chunks is not None for answer in answers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "answer", "passage", *(PLACE if retrieved else ())])
    for answer in answers:
        if answer.chunks is None:
            passage = supporting_passage(answer.context, answer.question, visible_text(answer.answer))
        else:
            passage = answer.passage or ""
        place = [getattr(answer, name) for name in PLACE] if retrieved else []
        writer.writerow([answer.id, answer.answer, passage, *place])
    return text.getvalue().encode()


@dataclass(frozen=True, slots=True)
class Comparison:
    """One policy's answers compared with another's to the same questions.

    Attributes:
        difference: of the scores, paired; None where the judge decides.
        wins: the win rate, ties counting half.
        errors: questions on which the judge failed; they are left out everywhere else.
        differences: of the scores, question by question; where the judge decides, wins less one half.
        least: the lowest value that a difference can have.
    """

    difference: Estimate | None
    wins: Estimate
    errors: int
    differences: tuple[float, ...]
    least: float


def least_difference(*, scored: bool) -> float:
    """Return the lowest value of `Comparison.differences`, by gold answers or else by the judge."""
    return -1.0 if scored else -0.5


async def compare_answers(
    answers: Sequence[HeldoutAnswer],
    others: Sequence[HeldoutAnswer],
    questions: Sequence[Question],
    judge: Judge,
    *,
    confidence: float,
    seed: int,
) -> Comparison:
    """Compare one policy's answers with another's to the same questions, by gold answers or else by the judge."""
    if all(answer.score is not None for answer in answers):
        new = [float(answer.score or 0.0) for answer in answers]
        old = [float(answer.score or 0.0) for answer in others]
        differences = tuple(a - b for a, b in zip(new, old, strict=True))
        difference, wins = paired_difference(new, old, confidence, seed), win_rate(new, old, confidence, seed)
        return Comparison(difference, wins, 0, differences, least_difference(scored=True))
    asked = [
        await _judged_win(judge, question, [answer.answer, other.answer])
        for question, answer, other in zip(questions, answers, others, strict=True)
    ]
    won = [win for win in asked if win is not None]
    wins = mean_interval(won, confidence, seed)
    differences = tuple(win - 0.5 for win in won)
    return Comparison(None, wins, len(asked) - len(won), differences, least_difference(scored=False))


async def _judged_win(judge: Judge, question: Question, answers: list[str]) -> float | None:
    """Return 1 if the judge prefers the first answer, 0 if the second, 0.5 for neither, and None if it failed."""
    decisions = judge.decide(question.id, 2, await judge.verdicts(question, answers))
    for decision in decisions:
        if decision.status == "ok" and decision.preference is not None:
            return float(decision.preference > 0.5)
    return None if any(decision.status == "error" for decision in decisions) else 0.5


@dataclass(frozen=True, slots=True)
class PolicySample:
    """The token ids of an answer sampled at temperature 1, and its log-probability under the policy, in nats."""

    prompt: list[int]
    answer: list[int]
    logp: float


async def sample_policy(
    pool: EnginePool,
    questions: Sequence[Question],
    render: Callable[[Question], Messages],
    *,
    max_tokens: int,
    seed: int,
) -> list[PolicySample]:
    """Sample one answer to each question; questions that could not be answered are left out.

    Args:
        max_tokens: longest answer of a policy. One token less is sampled: an engine scores only what leaves it room
            for one more.
    """

    async def sample(index: int, question: Question) -> PolicySample | None:
        longest = max(1, max_tokens - 1)
        request = SampleRequest(question.id, render(question), seed=seed + index, max_tokens=longest)
        reply, _ = await pool.sample(request)
        if not reply.candidates:
            return None
        drawn = reply.candidates[0]
        return PolicySample(reply.prompt_token_ids, drawn.token_ids, sum(drawn.logprobs))

    sampled = await asyncio.gather(*(sample(index, question) for index, question in enumerate(questions)))
    return [entry for entry in sampled if entry is not None]


async def initial_logps(pool: EnginePool, samples: Sequence[PolicySample]) -> list[float]:
    """Return each answer's log-probability under the initial policy, in nats, from a pool's engines."""
    requests = [ScoreRequest(each.prompt + each.answer, start=len(each.prompt)) for each in samples]
    return [sum(logprobs) for logprobs in await pool.score_initial(requests)]
