"""Samples the questions of a round, and judges each as soon as its candidates are there.

Invariant: every question of the round reaches the store exactly once, as candidates (and then verdicts) or as a failure
with its reason; what an earlier start has committed is neither sampled nor judged again; and at most `in_flight`
questions are in flight at once.
"""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.errors import WorkError
from rlaif.evaluation.unfinished import unfinished_line
from rlaif.inference.requests import SampleRequest
from rlaif.inference.vllm.pool import EnginePool
from rlaif.judge_evals.gold_set import judge_gold_set
from rlaif.judges.judge import Judge, Verdict
from rlaif.progress import Progress
from rlaif.recipe import SamplingSection
from rlaif.rounds.setup import Setup
from rlaif.rounds.sink import RoundSink
from rlaif.store.events import Emit
from rlaif.store.records.round_records import JudgeStage, SampleStage
from rlaif.store.rundir import RoundDir

T = TypeVar("T")


@dataclass
class RoundCounts:
    """What one start of a run has sampled and judged of a round: questions, retries and tokens.

    Attributes:
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


def question_seed(seed: int, round_number: int, question_id: str) -> int:
    """Return the sampling seed of a question's first candidate: the same whenever and wherever it is sampled."""
    digest = hashlib.sha256(f"{seed}\0{round_number}\0{question_id}".encode()).digest()
    return int.from_bytes(digest[:6], "big")


class Dispatcher:
    """Takes the questions of one round through sampling and judging.

    `render` makes the chat that asks the policy a question; `seed` and `round_number` decide its sampling seed, and
    `number_in_phase` the temperature.
    """

    def __init__(
        self,
        pool: EnginePool,
        judge: Judge,
        sink: RoundSink,
        sampling: SamplingSection,
        *,
        render: Callable[[Question], Messages],
        seed: int,
        round_number: int,
        number_in_phase: int = 0,
        progress: Progress,
    ) -> None:
        self._pool, self._judge, self._sink, self._sampling = pool, judge, sink, sampling
        self._render, self._seed, self._round, self._progress = render, seed, round_number, progress
        self._temperature = sampling.temperature_of(number_in_phase)
        self.counts = RoundCounts()
        # Committed last: if the work stops, the next start asks for them again instead of keeping the errors.
        self._with_errors: list[Sequence[Verdict]] = []

    async def run(self, questions: Sequence[Question]) -> RoundCounts:
        """Sample and judge what is not in the store yet; all is committed when this returns or raises."""
        sampled, failed = self._sink.candidates.prompt_ids(), self._sink.failures.prompt_ids()
        judged = self._sink.verdicts.prompt_ids()
        by_id = {question.id: question for question in questions}
        if both := sampled & failed:
            raise WorkError(f"{self._sink.failures.folder}: question {min(both)} has candidates and a failure")
        if unknown := (sampled | failed) - by_id.keys():
            raise WorkError(f"{self._sink.candidates.folder}: question {min(unknown)} is not one of this round's")
        left = len(by_id.keys() - judged - failed)
        self._progress.stage(f"round {self._round}: sample and judge", len(questions), len(questions) - left)
        # Questions that are sampled but not judged go first: half of their cost is paid.
        unjudged = deque((by_id[id_], texts) for id_, texts in self._stored_texts(sampled - judged))
        unsampled = deque(by_id[id_] for id_ in by_id if id_ not in sampled and id_ not in failed)
        try:
            await self._drain(unjudged, lambda stored: self._judge_candidates(*stored))
            await self._drain(unsampled, self._sample_and_judge)
            for verdicts in self._with_errors:
                await self._sink.add_verdicts(verdicts)
        finally:
            self._sink.flush()
        return self.counts

    async def _drain(self, queue: "deque[T]", handle: Callable[[T], Awaitable[None]]) -> None:
        """Handle all items of a queue, `in_flight` at once."""

        async def work() -> None:
            while queue:
                await handle(queue.popleft())

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._sampling.in_flight, len(queue))):
                    group.create_task(work())
        except* (WorkError, OSError) as errors:
            # An engine that does not start fails every request alike, as a full disk fails every shard.
            raise errors.exceptions[0] from None

    def _stored_texts(self, ids: set[str]) -> list[tuple[str, list[str]]]:
        """Return the stored candidates' texts, in order, of each question."""
        if not ids:
            return []
        return [
            (id_, [row["text"] for row in sorted(rows, key=lambda row: int(row["candidate"]))])
            for id_, rows in self._sink.candidates.by_prompt()
            if id_ in ids
        ]

    async def _sample_and_judge(self, question: Question) -> None:
        request = SampleRequest(
            id=question.id,
            messages=self._render(question),
            n=self._sampling.candidates,
            seed=question_seed(self._seed, self._round, question.id),
            temperature=self._temperature,
            top_p=self._sampling.top_p,
            max_tokens=self._sampling.max_tokens,
        )
        reply, attempts = await self._pool.sample(request)
        self.counts.retries += attempts - 1
        if reply.failure is not None:
            await self._sink.add_failure(question.id, "sample", reply.failure, attempts)
            self.counts.failed += 1
            if len(self.counts.failures) < 10:
                self.counts.failures.append((question.id, reply.failure))
            self._progress.advance(1, failed=self.counts.failed)
            return
        await self._sink.add_candidates(reply)
        self.counts.sampled += 1
        self.counts.tokens += sum(len(candidate.token_ids) for candidate in reply.candidates)
        await self._judge_candidates(question, [candidate.text for candidate in reply.candidates])

    async def _judge_candidates(self, question: Question, texts: Sequence[str]) -> None:
        verdicts = await self._judge.verdicts(question, texts)
        if any(verdict.status == "error" for verdict in verdicts):
            self._with_errors.append(verdicts)
        else:
            await self._sink.add_verdicts(verdicts)
        self.counts.judged += 1
        self.counts.statuses.update(verdict.status for verdict in verdicts)
        self._progress.advance(1, tokens=self.counts.tokens, verdicts=self.counts.statuses.total())


async def sample_and_judge(
    directory: RoundDir, setup: Setup, pool: EnginePool, judge: Judge, *, progress: Progress, emit: Emit
) -> None:
    """Check the judge on the gold set, sample candidates for the round's questions, judge them, and mark both stages.

    Args:
        judge: of the round's phase.

    Raises:
        WorkError: the judge disagrees with people, no question could be sampled, or the engines cannot go on.
    """
    recipe, round_ = setup.recipe, setup.round(directory.number)
    questions, sampling = round_.questions, round_.phase.sampling
    assert sampling is not None, "the rounds of the phase sample nothing"
    if recipe.judge.gold_set is not None:
        limit = recipe.judge.gold_set.min_agreement
        await judge_gold_set(judge, setup.gold_set, directory, limit, progress=progress, emit=emit)
    chunks = {question.id: question.chunk_ids for question in questions}
    sink = RoundSink(directory, sampling.shard_questions, chunks)
    dispatcher = Dispatcher(
        pool, judge, sink, sampling,
        render=setup.render, seed=recipe.seed, round_number=directory.number, number_in_phase=round_.number,
        progress=progress,
    )  # fmt: skip
    counts = await dispatcher.run(questions)
    texts = (text for shard in sink.candidates.shards(["text"]) for text in shard["text"].to_pylist())
    if line := unfinished_line(texts, sampling.max_tokens, "sampling.max_tokens"):
        progress.say(f"round {directory.number}: {line}")
    for question_id, reason in counts.failures:
        progress.say(f"  {question_id}: {reason}")
    sampled, failed = len(sink.candidates.prompt_ids()), len(sink.failures.prompt_ids())
    if sampled + failed != len(questions):
        raise WorkError(
            f"{directory.root}: {len(questions)} questions, but {sampled} were sampled and {failed} failed; "
            "start the run again"
        )
    if not sampled:
        raise WorkError(
            f"{directory.root}: none of {len(questions)} questions could be sampled; see the reasons in failures/"
        )
    directory.mark(
        SampleStage(policy=pool.policy.id, questions=len(questions), failed=failed, candidates=sink.candidates.rows())
    )
    directory.mark(JudgeStage(verdicts=sink.verdicts.rows()))
