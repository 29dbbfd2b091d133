"""Commits the sampled and judged questions of a round as shards.

Invariant: a question's verdicts are never committed before its candidates, and each question is committed once, as
candidates or as a failure. A thread writes one shard at a time while the event loop goes on; the results that arrive
meanwhile are the next shard.
"""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from typing import Any

from rlaif.inference.requests import SampleReply
from rlaif.judges.judge import Verdict
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, FAILURES, ROUND_VERDICTS, VERDICTS
from rlaif.store.shards import ShardTable


@dataclass
class _Gathered:
    """Results that are not committed yet."""

    candidates: list[SampleReply] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    judged: int = 0

    @property
    def questions(self) -> int:
        return max(len(self.candidates), len(self.failures), self.judged)


class RoundSink:
    """Gathers a round's results and commits them in shards of at least `shard_questions` questions.

    Args:
        chunks: by question, the ids of those that its context was retrieved as; none of other questions.
    """

    def __init__(
        self, directory: RoundDir, shard_questions: int, chunks: Mapping[str, list[str] | None] | None = None
    ) -> None:
        self._shard, self._chunks = shard_questions, chunks or {}
        self.candidates = ShardTable(directory.path("candidates"), CANDIDATES)
        self.failures = ShardTable(directory.path("failures"), FAILURES)
        self.verdicts = ShardTable(directory.path("verdicts"), ROUND_VERDICTS)
        self._gathered, self._leaving = _Gathered(), _Gathered()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._writing: Future[None] | None = None
        self._written: asyncio.Future[None] | None = None

    async def add_candidates(self, reply: SampleReply) -> None:
        """Take a question's candidates; returns when there is room for more."""
        self._gathered.candidates.append(reply)
        await self._settle()

    async def add_failure(self, prompt_id: str, stage: str, reason: str, attempts: int) -> None:
        """Take a question that could not be sampled; returns when there is room for more."""
        self._gathered.failures.append({"prompt_id": prompt_id, "stage": stage, "reason": reason, "attempts": attempts})
        await self._settle()

    async def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take all verdicts on one question; returns when there is room for more."""
        self._gathered.verdicts += verdicts
        self._gathered.judged += 1
        await self._settle()

    def flush(self) -> None:
        """Commit all results, candidates first, before this returns."""
        if self._writing is not None:
            wait([self._writing])
        # Retries the rest of a failed write; the committed part is already removed from it.
        self._commit(self._leaving)
        self._commit(self._gathered)

    async def _settle(self) -> None:
        """Wait once while the shard is full and another is written, so that each waiter adds at most one question."""
        if self._gathered.questions >= self._shard and self._written is not None:
            # A cancelled waiter must not cancel the write.
            await asyncio.shield(self._written)
        if self._gathered.questions >= self._shard and (self._written is None or self._written.done()):
            self._leaving, self._gathered = self._gathered, _Gathered()
            self._writing = self._writer.submit(self._commit, self._leaving)
            # One future for all waiters, since each wake-up from another thread costs a system call.
            self._written = asyncio.wrap_future(self._writing)
            # Without waiters, `flush` retries a failed write.
            self._written.add_done_callback(lambda written: written.cancelled() or written.exception())

    def _commit(self, gathered: _Gathered) -> None:
        # Each part is dropped once it is committed, so that a retry does not write it twice.
        self.candidates.append_columns(_candidate_columns(gathered.candidates, self._chunks))
        gathered.candidates = []
        self.failures.append(gathered.failures)
        gathered.failures = []
        columns = {name: [getattr(verdict, name) for verdict in gathered.verdicts] for name in VERDICTS.names}
        columns["marks"] = [[asdict(mark) for mark in marks] for marks in columns["marks"]]
        columns["chunks"] = [self._chunks.get(prompt_id) for prompt_id in columns["prompt_id"]]
        self.verdicts.append_columns(columns)
        gathered.verdicts, gathered.judged = [], 0


def _candidate_columns(replies: Sequence[SampleReply], chunks: Mapping[str, list[str] | None]) -> dict[str, list[Any]]:
    rows = [(reply, index, sample) for reply in replies for index, sample in enumerate(reply.candidates)]
    sampled = ("text", "token_ids", "logprobs", "finish_reason", "seed")
    return {
        "prompt_id": [reply.id for reply, _, _ in rows],
        "candidate": [index for _, index, _ in rows],
        "policy": [reply.policy for reply, _, _ in rows],
        "prompt_token_ids": [reply.prompt_token_ids for reply, _, _ in rows],
        "chunks": [chunks.get(reply.id) for reply, _, _ in rows],
        **{name: [getattr(sample, name) for _, _, sample in rows] for name in sampled},
    }
