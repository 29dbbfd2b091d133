"""Source to sink: samples the prompts of a round and judges each as soon as its candidates are there.

Invariant: every prompt of the round reaches the store exactly once, as candidates (and then verdicts) or as a failure
that says why; what an earlier start has committed is neither sampled nor judged again; and no more than
`in_flight` prompts are on their way at once.
"""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.inference.requests import SampleReply, SampleRequest
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Verdict
from rlaif.progress import Progress
from rlaif.recipe import SamplingSection
from rlaif.rounds.sink import RoundSink


@dataclass
class RoundCounts:
    """What the sampling and judging of a round came to in this start of the run.

    Attributes:
        sampled, failed, judged: prompts.
        retries: tries beyond the first.
        tokens: tokens sampled.
        statuses: verdicts by status.
        failures: up to ten ids with their reasons, for messages.
    """

    sampled: int = 0
    failed: int = 0
    judged: int = 0
    retries: int = 0
    tokens: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Sampler(Protocol):
    """What samples the policy: a pool of engines."""

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        """Return the answers to a prompt, or a failure, and how often it was tried."""
        ...


def question_seed(seed: int, round_number: int, prompt_id: str) -> int:
    """Return the sampling seed of a prompt's first candidate: the same whenever and wherever it is sampled."""
    digest = hashlib.sha256(f"{seed}\0{round_number}\0{prompt_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


class Dispatcher:
    """Drives the prompts of one round through sampling and judging.

    Args:
        pool: the policy's engines.
        judge: gives verdicts on candidates.
        sink: takes the results.
        sampling: the recipe's section.
        render: gives the chat that the policy is asked for a prompt.
        seed, round_number: decide each prompt's sampling seed.
        progress: told of each prompt that is done.
    """

    def __init__(
        self,
        pool: Sampler,
        judge: Judge,
        sink: RoundSink,
        sampling: SamplingSection,
        render: Callable[[Question], Messages],
        seed: int,
        round_number: int,
        progress: Progress,
    ) -> None:
        self._pool, self._judge, self._sink, self._sampling = pool, judge, sink, sampling
        self._render, self._seed, self._round, self._progress = render, seed, round_number, progress
        self.counts = RoundCounts()

    async def run(self, prompts: Sequence[Question]) -> RoundCounts:
        """Sample and judge what is not in the store yet; all is committed when this returns or raises."""
        sampled, failed = self._sink.candidates.prompt_ids(), self._sink.failures.prompt_ids()
        judged = self._sink.verdicts.prompt_ids()
        if both := sampled & failed:
            raise WorkError(f"{self._sink.failures.folder}: prompt {min(both)} has candidates and a failure")
        by_id = {prompt.id: prompt for prompt in prompts}
        if strangers := (sampled | failed) - set(by_id):
            raise WorkError(f"{self._sink.candidates.folder}: prompt {min(strangers)} is none of this round's")
        left = sum(prompt.id not in judged and prompt.id not in failed for prompt in prompts)
        self._progress.stage(f"round {self._round}: sample and judge", len(prompts), len(prompts) - left)
        # What was sampled but not judged goes first: it is paid for in half.
        waiting = self._unjudged(sampled - judged)
        todo = deque(prompt for prompt in prompts if prompt.id not in sampled and prompt.id not in failed)
        try:
            await self._drain(len(waiting), lambda: self._judge_stored(by_id, waiting))
            await self._drain(len(todo), lambda: self._sample_and_judge(todo))
        finally:
            self._sink.flush()
        return self.counts

    async def _drain(self, count: int, worker: Callable[[], Any]) -> None:
        workers = min(self._sampling.in_flight, count)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(worker())
        except* (WorkError, OSError) as errors:
            # One engine that does not start fails every request alike, as a full disk fails every shard: the first
            # says it all.
            raise errors.exceptions[0] from None

    def _unjudged(self, ids: set[str]) -> "deque[tuple[str, list[str]]]":
        waiting: deque[tuple[str, list[str]]] = deque()
        if ids:
            for prompt_id, rows in self._sink.candidates.by_prompt():
                if prompt_id in ids:
                    waiting.append((prompt_id, [row["text"] for row in _in_order(rows)]))
        return waiting

    async def _judge_stored(self, prompts: dict[str, Question], waiting: "deque[tuple[str, list[str]]]") -> None:
        while waiting:
            prompt_id, texts = waiting.popleft()
            await self._judge_prompt(prompts[prompt_id], texts)

    async def _sample_and_judge(self, todo: "deque[Question]") -> None:
        while todo:
            prompt = todo.popleft()
            request = SampleRequest(
                id=prompt.id,
                messages=self._render(prompt),
                n=self._sampling.candidates,
                seed=question_seed(self._seed, self._round, prompt.id),
                temperature=self._sampling.temperature,
                top_p=self._sampling.top_p,
                max_tokens=self._sampling.max_tokens,
            )
            reply, attempts = await self._pool.sample(request)
            self.counts.retries += attempts - 1
            if reply.failure is not None:
                await self._fail(prompt.id, reply.failure, attempts)
                continue
            await self._sink.add_candidates(reply)
            self.counts.sampled += 1
            self.counts.tokens += sum(len(sample.token_ids) for sample in reply.candidates)
            await self._judge_prompt(prompt, [sample.text for sample in reply.candidates])

    async def _fail(self, prompt_id: str, reason: str, attempts: int) -> None:
        await self._sink.add_failure(prompt_id, "sample", reason, attempts)
        self.counts.failed += 1
        if len(self.counts.failures) < 10:
            self.counts.failures.append((prompt_id, reason))
        self._progress.advance(1, failed=self.counts.failed)

    async def _judge_prompt(self, prompt: Question, texts: Sequence[str]) -> None:
        verdicts: list[Verdict] = await self._judge.verdicts(prompt, texts)
        await self._sink.add_verdicts(verdicts)
        self.counts.judged += 1
        self.counts.statuses.update(verdict.status for verdict in verdicts)
        self._progress.advance(1, tokens=self.counts.tokens, verdicts=self.counts.statuses.total())


def _in_order(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: int(row["candidate"]))
