"""Where sampled and judged prompts end: committed shards.

Invariant: a prompt's verdicts are never committed before its candidates, so that a verdict always speaks of
candidates that are in the store; and each prompt is committed once, as candidates or as a failure.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rlaif.engines.requests import SampleReply
from rlaif.judging.verdict import Verdict
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, FAILURES, VERDICTS
from rlaif.store.shards import ShardTable


class RoundSink:
    """Gathers a round's results and commits them in shards.

    Args:
        directory: the round's folder.
        shard_prompts: prompts a shard holds before it is committed.
    """

    def __init__(self, directory: RoundDir, shard_prompts: int) -> None:
        self._shard = shard_prompts
        self.candidates = ShardTable(directory.path("candidates"), CANDIDATES)
        self.failures = ShardTable(directory.path("failures"), FAILURES)
        self.verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
        self._candidate_rows: list[dict[str, Any]] = []
        self._candidate_prompts = 0
        self._failure_rows: list[dict[str, Any]] = []
        self._verdict_rows: list[dict[str, Any]] = []
        self._verdict_prompts = 0

    def add_candidates(self, reply: SampleReply) -> None:
        """Take a prompt's candidates."""
        self._candidate_rows += [
            {
                "prompt_id": reply.id,
                "candidate": index,
                "text": sample.text,
                "token_ids": sample.token_ids,
                "logprobs": sample.logprobs,
                "finish_reason": sample.finish_reason,
                "policy": reply.policy,
                "seed": sample.seed,
                "prompt_token_ids": reply.prompt_token_ids,
            }
            for index, sample in enumerate(reply.samples)
        ]
        self._candidate_prompts += 1
        if self._candidate_prompts >= self._shard:
            self.flush_candidates()

    def add_failure(self, prompt_id: str, stage: str, reason: str, attempts: int) -> None:
        """Take a prompt that could not be sampled."""
        self._failure_rows.append({"prompt_id": prompt_id, "stage": stage, "reason": reason, "attempts": attempts})
        if len(self._failure_rows) >= self._shard:
            self.flush_candidates()

    def add_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Take all verdicts on one prompt."""
        self._verdict_rows += [asdict(verdict) for verdict in verdicts]
        self._verdict_prompts += 1
        if self._verdict_prompts >= self._shard:
            self.flush()

    def flush_candidates(self) -> None:
        """Commit the candidates and failures that are gathered."""
        # Each is let go once it is committed, so that a second try after a failed write commits none twice.
        self.candidates.append(self._candidate_rows)
        self._candidate_rows, self._candidate_prompts = [], 0
        self.failures.append(self._failure_rows)
        self._failure_rows = []

    def flush(self) -> None:
        """Commit all that is gathered, candidates first."""
        self.flush_candidates()
        self.verdicts.append(self._verdict_rows)
        self._verdict_rows, self._verdict_prompts = [], 0
