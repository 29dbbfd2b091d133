"""How good a policy is on questions that it never trains on.

Invariant: every figure has an interval, is computed over all held-out questions that were answered, and a question
that could not be answered counts as wrong rather than not at all.
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
from rlaif.inference.requests import SampleRequest, ScoreRequest
from rlaif.inference.vllm.pool import EnginePool
from rlaif.progress import Progress
from rlaif.stats.bootstrap import Estimate
from rlaif.stats.intervals import mean_interval


@dataclass(frozen=True, slots=True)
class Answer:
    """A policy's greedy answer to one question, and what the reference says of it.

    Attributes:
        id, question, context, reference: of the prompt.
        answer: the text; "" where there is none.
        score: 1 or 0 for a figure, token F1 for a text; None without a reference.
        exact: whether it is the reference's figure, or its text but for case, articles and punctuation.
        f1: token F1 against the reference.
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
    prompts: Sequence[Question],
    render: Callable[[Question], Messages],
    *,
    max_tokens: int,
    progress: Progress,
) -> list[Answer]:
    """Answer every prompt once, greedily, with the pool's current policy."""

    async def answer(prompt: Question) -> Answer:
        request = SampleRequest(prompt.id, render(prompt), temperature=0.0, max_tokens=max_tokens)
        reply, _ = await pool.sample(request)
        text = reply.candidates[0].text if reply.candidates else ""
        scored = score_answer(text, prompt.gold_answer) if prompt.gold_answer is not None else None
        progress.advance(1)
        return Answer(
            id=prompt.id,
            question=prompt.question,
            context=prompt.context,
            reference=prompt.gold_answer,
            answer=text,
            score=scored.score if scored else None,
            exact=scored.score == 1.0 if scored else None,
            f1=scored.f1 if scored else None,
            tokens=len(reply.candidates[0].token_ids) if reply.candidates else 0,
            failure=reply.failure,
        )

    return list(await asyncio.gather(*(answer(prompt) for prompt in prompts)))


def metrics_of(answers: Sequence[Answer], confidence: float, seed: int) -> dict[str, Estimate]:
    """Return the means of all that can be measured on one set of answers alone, with bootstrap intervals."""
    known = [answer for answer in answers if answer.score is not None]
    metrics = {"length": mean_interval([answer.tokens for answer in answers], confidence, seed)}
    if known:
        metrics["score"] = mean_interval([float(answer.score or 0.0) for answer in known], confidence, seed)
        metrics["exact"] = mean_interval([float(answer.exact or 0.0) for answer in known], confidence, seed)
        metrics["f1"] = mean_interval([float(answer.f1 or 0.0) for answer in known], confidence, seed)
    return metrics


async def kl_samples(
    pool: EnginePool, prompts: Sequence[Question], render: Callable[[Question], Messages], *, max_tokens: int, seed: int
) -> list[tuple[list[int], list[int], float]]:
    """Sample one answer a prompt at temperature 1: prompt tokens, answer tokens, and the answer's log-probability.

    The difference to the same answer's log-probability under the initial policy has the KL divergence
    KL(policy || initial), in nats an answer, as its mean (the estimator k1 of Schulman 2020).
    """

    async def draw(index: int, prompt: Question) -> tuple[list[int], list[int], float] | None:
        request = SampleRequest(prompt.id, render(prompt), seed=seed + index, temperature=1.0, max_tokens=max_tokens)
        reply, _ = await pool.sample(request)
        if not reply.candidates:
            return None
        sample = reply.candidates[0]
        return reply.prompt_token_ids, sample.token_ids, sum(sample.logprobs)

    drawn = await asyncio.gather(*(draw(index, prompt) for index, prompt in enumerate(prompts)))
    return [entry for entry in drawn if entry is not None]


async def initial_logps(pool: EnginePool, samples: Sequence[tuple[list[int], list[int], float]]) -> list[float]:
    """Return each answer's log-probability under the base model of a pool that serves adapters."""
    requests = [ScoreRequest(prompt + answer, start=len(prompt), adapter=False) for prompt, answer, _ in samples]
    return [sum(logprobs) for logprobs in await asyncio.gather(*(pool.score(request) for request in requests))]


def predictions_csv(answers: Sequence[Answer]) -> bytes:
    """Return `id, answer, passage` as CSV: the answers and the passage of the context that supports each best."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["id", "answer", "passage"])
    for answer in answers:
        writer.writerow([answer.id, answer.answer, supporting_passage(answer.context, answer.question, answer.answer)])
    return text.getvalue().encode()
