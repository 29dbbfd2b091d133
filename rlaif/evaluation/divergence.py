"""The KL divergence of a policy from the initial one, estimated on sampled answers."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.inference.requests import SampleRequest, ScoreRequest
from rlaif.inference.vllm.pool import EnginePool
from rlaif.stats.bootstrap import Estimate, mean_interval


@dataclass(frozen=True, slots=True)
class PolicySample:
    """An answer sampled at temperature 1.

    Attributes:
        prompt, answer: token ids.
        logp: the answer's log-probability under the policy, in nats.
    """

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
    """Sample one answer to each question; questions that could not be answered are left out."""

    async def sample(index: int, question: Question) -> PolicySample | None:
        request = SampleRequest(question.id, render(question), seed=seed + index, max_tokens=max_tokens)
        reply, _ = await pool.sample(request)
        if not reply.candidates:
            return None
        drawn = reply.candidates[0]
        return PolicySample(reply.prompt_token_ids, drawn.token_ids, sum(drawn.logprobs))

    sampled = await asyncio.gather(*(sample(index, question) for index, question in enumerate(questions)))
    return [entry for entry in sampled if entry is not None]


async def base_logps(pool: EnginePool, samples: Sequence[PolicySample]) -> list[float]:
    """Return each answer's log-probability under the base model of a pool that serves adapters, in nats."""
    requests = [ScoreRequest(each.prompt + each.answer, start=len(each.prompt), adapter=False) for each in samples]
    return [sum(logprobs) for logprobs in await asyncio.gather(*(pool.score(request) for request in requests))]


def kl_divergence(
    samples: Sequence[PolicySample], initial_logps: Sequence[float], confidence: float, seed: int
) -> Estimate:
    """Return KL(policy || initial policy) in nats per answer: the estimator k1 of Schulman 2020.

    Args:
        samples: answers of the policy.
        initial_logps: their log-probabilities under the initial policy.
        confidence, seed: of the interval.
    """
    differences = [each.logp - initial for each, initial in zip(samples, initial_logps, strict=True)]
    return mean_interval(differences, confidence, seed)
