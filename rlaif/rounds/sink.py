"""Where sampled and judged prompts end: committed shards.

Invariant: a prompt's verdicts are never committed before its candidates, so that a verdict always speaks of
candidates that are in the store; and each prompt is committed once, as candidates or as a failure. One shard at a time
is written, by a thread, while the event loop goes on; what gathers meanwhile is the next one.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from rlaif.inference.requests import SampleReply
from rlaif.judges.verdict import Verdict
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, FAILURES, VERDICTS
from rlaif.store.shards import ShardTable


@dataclass
class _Gathered:
    """What is not committed yet."""

    candidates: list[SampleReply] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    judged: int = 0

    @property
    def prompts(self) -> int:
        return max(len(self.candidates), len(self.failures), self.judged)


class RoundSink:
    """Gathers a round's results and commits them in shards.

    Args:
        directory: the round's folder.
        shard_prompts: prompts a shard holds before it is committed; it gets more while another is being written.
    """

    def __init__(self, directory: RoundDir, shard_prompts: int) -> None:
        self._shard = shard_prompts
        self.candidates = ShardTable(directory.path("candidates"), CANDIDATES)
        self.failures = ShardTable(directory.path("failures"), FAILURES)
        self.verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
        self._gathered, self._leaving = _Gathered(), _Gathered()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="shards")
        self._writing: Future[None] | None = None
        self._written: asyncio.Future[None] | None = None

    async def add_candidates(self, reply: SampleReply) -> None:
        """Take a prompt's candidates; returns when there is room for more."""
        self._gathered.candidates.append(reply)
        await self._settle()

    async def add_failure(self, prompt_id: str, stage: str, reason: str, attempts: int) -> None:
        """Take a prompt that could not be sampled; returns when there is room for more."""
        self._gathered.failures.append({"prompt_id": prompt_id, "stage": stage, "reason": reason, "attempts": attempts})
        await self._settle()

    async def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take all verdicts on one prompt; returns when there is room for more."""
        self._gathered.verdicts += verdicts
        self._gathered.judged += 1
        await self._settle()

    def flush(self) -> None:
        """Commit all that is gathered, candidates first, before this returns."""
        if self._writing is not None:
            wait([self._writing])
        # What a failed write has left is tried once more; what it had committed is no longer there.
        self._commit(self._leaving)
        self._commit(self._gathered)

    async def _settle(self) -> None:
        """Wait while a full shard finds another being written, once: so at most one more prompt a waiter gathers."""
        if self._gathered.prompts >= self._shard and self._written is not None:
            # The write goes on where a waiter is cancelled; only its own end says what is committed.
            await asyncio.shield(self._written)
        if self._gathered.prompts >= self._shard and (self._written is None or self._written.done()):
            self._leaving, self._gathered = self._gathered, _Gathered()
            self._writing = self._writer.submit(self._commit, self._leaving)
            # One for all who wait: a wake-up from another thread costs a system call.
            self._written = asyncio.wrap_future(self._writing)
            # Where nobody waits any more, `flush` finds what a failed write has left.
            self._written.add_done_callback(lambda written: written.cancelled() or written.exception())

    def _commit(self, gathered: _Gathered) -> None:
        # Each part is let go once it is committed, so that a second try writes none twice.
        self.candidates.append_columns(_candidate_columns(gathered.candidates))
        gathered.candidates = []
        self.failures.append(gathered.failures)
        gathered.failures = []
        self.verdicts.append_columns(
            {name: [getattr(verdict, name) for verdict in gathered.verdicts] for name in VERDICTS.names}
        )
        gathered.verdicts, gathered.judged = [], 0


def _candidate_columns(replies: Sequence[SampleReply]) -> dict[str, list[Any]]:
    rows = [(reply, index, sample) for reply in replies for index, sample in enumerate(reply.candidates)]
    return {
        "prompt_id": [reply.id for reply, _, _ in rows],
        "candidate": [index for _, index, _ in rows],
        "text": [sample.text for _, _, sample in rows],
        "token_ids": [sample.token_ids for _, _, sample in rows],
        "logprobs": [sample.logprobs for _, _, sample in rows],
        "finish_reason": [sample.finish_reason for _, _, sample in rows],
        "policy": [reply.policy for reply, _, _ in rows],
        "seed": [sample.seed for _, _, sample in rows],
        "prompt_token_ids": [reply.prompt_token_ids for reply, _, _ in rows],
    }
