"""Statistics of a run's judges over its verdicts: statuses, agreement of the two orders, position bias and cost.

Invariant: every verdict of the run is counted once, under its judge and its status.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

import pyarrow as pa
import pyarrow.compute as pc

from rlaif.judges.judge import Status
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import VERDICTS
from rlaif.store.shards import ShardTable

STATUSES = get_args(Status)
_UNREAD_KEPT = 6
_COLUMNS = [name for name in VERDICTS.names if name not in ("text", "judge_sha", "prompt_sha", "mass", "marks")]


@dataclass(slots=True)
class JudgeStatistics:
    """Statistics of one judge over a whole run.

    Attributes:
        both_orders: comparisons with an `ok` verdict in each order.
        orders_agree: those of them whose orders prefer the same candidate.
        decided: `ok` verdicts on two candidates.
        shown_first: those of them that prefer the candidate shown first.
        paid: verdicts that cost anything; a repeated request is answered from the cache.
    """

    judge: str
    by_status: Counter[str] = field(default_factory=Counter)
    both_orders: int = 0
    orders_agree: int = 0
    decided: int = 0
    shown_first: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    paid: int = 0

    @property
    def verdicts(self) -> int:
        return self.by_status.total()

    @property
    def agreement(self) -> float | None:
        """Share of the comparisons decided in both orders whose orders agree; None without any."""
        return self.orders_agree / self.both_orders if self.both_orders else None

    @property
    def first_share(self) -> float | None:
        """Share of the decided verdicts that prefer the candidate shown first; 0.5 means no position bias."""
        return self.shown_first / self.decided if self.decided else None


def run_verdicts(rounds: Sequence[RoundDir]) -> tuple[list[JudgeStatistics], list[dict[str, Any]]]:
    """Count the verdicts of some rounds, shard by shard.

    Returns:
        Statistics of all judges, most verdicts first, and a few rows of the verdicts that could not be used.
    """
    found: dict[str, JudgeStatistics] = {}
    unread: list[dict[str, Any]] = []
    tables = [(directory.number, ShardTable(directory.path("verdicts"), VERDICTS)) for directory in rounds]
    for number, shard in ((number, shard) for number, table in tables for shard in table.shards()):
        # One shard holds all verdicts on a question, so it holds both orders of a comparison.
        orders: dict[tuple[str, str, int, int], list[bool]] = {}
        for row in shard.select(_COLUMNS).to_pylist():
            _count(found.setdefault(row["judge"], JudgeStatistics(row["judge"])), row, orders)
        for (judge, *_), firsts in orders.items():
            if len(firsts) == 2:
                found[judge].both_orders += 1
                found[judge].orders_agree += firsts[0] == firsts[1]
        if len(unread) < _UNREAD_KEPT:
            failed = shard.filter(pc.is_in(shard["status"], value_set=pa.array(["unparsed", "error"])))
            rows = failed.slice(0, _UNREAD_KEPT - len(unread)).to_pylist()
            unread += [{"round": number, **row} for row in rows]
    return sorted(found.values(), key=lambda statistics: (-statistics.verdicts, statistics.judge)), unread


def _count(
    statistics: JudgeStatistics, row: dict[str, Any], orders: dict[tuple[str, str, int, int], list[bool]]
) -> None:
    statistics.by_status[row["status"]] += 1
    statistics.prompt_tokens += row["prompt_tokens"] or 0
    statistics.completion_tokens += row["completion_tokens"] or 0
    statistics.seconds += row["seconds"] or 0.0
    statistics.paid += bool(row["prompt_tokens"] or row["seconds"])
    if row["preference"] is None or row["second"] is None:
        return
    prefers_first = row["preference"] > 0.5
    statistics.decided += 1
    statistics.shown_first += prefers_first == (row["order"] == "ab")
    if row["order"] in ("ab", "ba"):
        key = (row["judge"], row["prompt_id"], row["first"], row["second"])
        orders.setdefault(key, []).append(prefers_first)
