"""A policy's greedy answers to questions that it never trains on, and their metrics.

Invariant: every metric has an interval, and a question that could not be answered counts as wrong.
"""

import asyncio
import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.documents.passage import supporting_passage
from rlaif.grading.match import score_answer
from rlaif.inference.requests import SampleRequest
from rlaif.inference.vllm.pool import EnginePool
from rlaif.progress import Progress
from rlaif.stats.bootstrap import Estimate, mean_interval


@dataclass(frozen=True, slots=True)
class HeldoutAnswer:
    """A policy's greedy answer to one question; a row of `answers.parquet`.

    Attributes:
        id, question, context: of the question.
        reference: its gold answer, or None.
        answer: the text; "" where there is none.
        score: 1 or 0 for a figure, token F1 for a text; None without a gold answer.
        exact: whether it is the gold answer's figure, or its text up to case, articles and punctuation.
        f1: token F1 against the gold answer.
        tokens: length.
        failure: why there is no answer, or None.
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


async def answer_questions(
    pool: EnginePool,
    questions: Sequence[Question],
    render: Callable[[Question], Messages],
    *,
    max_tokens: int,
    progress: Progress,
) -> list[HeldoutAnswer]:
    """Answer every question once, greedily, with the pool's current policy."""

    async def answer(question: Question) -> HeldoutAnswer:
        request = SampleRequest(question.id, render(question), temperature=0.0, max_tokens=max_tokens)
        reply, _ = await pool.sample(request)
        text, tokens = (reply.candidates[0].text, reply.candidates[0].token_ids) if reply.candidates else ("", [])
        match = score_answer(text, question.gold_answer) if question.gold_answer is not None else None
        progress.advance(1)
        return HeldoutAnswer(
            id=question.id,
            question=question.question,
            context=question.context,
            reference=question.gold_answer,
            answer=text,
            score=match.score if match else None,
            exact=match.score == 1.0 if match else None,
            f1=match.f1 if match else None,
            tokens=len(tokens),
            failure=reply.failure,
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
    return {name: mean_interval(each, confidence, seed) for name, each in values.items()}


def predictions_csv(answers: Sequence[HeldoutAnswer]) -> bytes:
    """Return `id, answer, passage` as CSV; the passage is the part of the context that supports the answer best."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "answer", "passage"])
    for answer in answers:
        writer.writerow([answer.id, answer.answer, supporting_passage(answer.context, answer.question, answer.answer)])
    return text.getvalue().encode()
