"""The parts of a report beyond the summary, read from a run's tables: pairs, answers, failures and training.

Invariant: each part is read on its own, and is empty if its files are missing.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rlaif.io.files import filesystem, names
from rlaif.reporting.summary import RunSummary
from rlaif.store.records.training_record import TrainingRecord
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.schemas import FAILURES
from rlaif.store.shards import ShardTable, read_table

IMPROVED_SHOWN, WORSENED_SHOWN = 8, 4
_BINS = 20
_PAIRS_AT_ONCE = 8192


@dataclass(frozen=True, slots=True)
class Quartiles:
    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """The preference pairs of one round.

    Attributes:
        edges: of the margins' bins, the same in all rounds.
        margins: pairs in each bin, by the judge that decided.
        chosen, rejected: lengths in tokens.
        longer_chosen: share of pairs whose chosen candidate is the longer one; equal lengths count half.
    """

    round: int
    pairs: int
    edges: tuple[float, ...]
    margins: Mapping[str, tuple[int, ...]]
    chosen: Quartiles
    rejected: Quartiles
    longer_chosen: float


@dataclass(frozen=True, slots=True)
class ChangedAnswer:
    """One held-out question's rows of `answers.parquet`, by the initial policy and by a later one."""

    before: Mapping[str, Any]
    after: Mapping[str, Any]

    @property
    def rise(self) -> float | None:
        """How much the score rose; None without a gold answer."""
        before, after = self.before["score"], self.after["score"]
        return None if before is None or after is None else after - before


@dataclass(frozen=True, slots=True)
class AnswerChanges:
    """The answers of a policy compared with those of the initial one, in numbers of questions.

    Attributes:
        scored: with a score of both.
        rewritten: with another text.
        best, worst: those whose scores rose and fell most.
        others: without scores, some with another text.
    """

    policy: int
    scored: int
    improved: int
    worsened: int
    rewritten: int
    questions: int
    best: tuple[ChangedAnswer, ...]
    worst: tuple[ChangedAnswer, ...]
    others: tuple[ChangedAnswer, ...]


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Questions of a round that failed for the same reason, up to the numbers in it; `reason` is the first's."""

    round: int
    stage: str
    reason: str
    questions: int
    examples: tuple[str, ...]


def pair_statistics(rounds: Sequence[RoundDir]) -> tuple[PairStatistics, ...]:
    """Return the statistics of the rounds that have pairs."""
    paired = [directory for directory in rounds if "pairs.parquet" in names(directory.root)]
    read = [(directory.number, *_read_pairs(directory)) for directory in paired]
    read = [entry for entry in read if entry[1].size]
    if not read:
        return ()
    # The margin of a preference is at most 1; that of two ratings may be larger.
    widest = max(float(figures[:, 0].max()) for *_, figures in read)
    edges = np.linspace(0.0, max(1.0, widest), _BINS + 1)
    return tuple(_pair_statistics(*entry, edges) for entry in read)


def _read_pairs(directory: RoundDir) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return each pair's judge, and its margin and the lengths of its chosen and rejected candidate, (pairs, 3).

    The tokens of only a few thousand pairs are in memory at once.
    """
    judges: list[str] = []
    figures = [np.empty((0, 3))]
    system, path = filesystem(directory.path("pairs.parquet"))
    columns = ["judge", "margin", "chosen_token_ids", "rejected_token_ids"]
    with system.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_PAIRS_AT_ONCE, columns=columns):
            judges += [judge or "people" for judge in batch["judge"].to_pylist()]
            lengths = [pc.list_value_length(batch[name]).to_numpy(zero_copy_only=False) for name in columns[2:]]
            margins = batch["margin"].fill_null(1.0).to_numpy(zero_copy_only=False)
            figures.append(np.column_stack([margins, *lengths]).astype(np.float64))
    return np.array(judges, dtype=np.str_), np.concatenate(figures)


def _pair_statistics(
    number: int, judges: NDArray[np.str_], figures: NDArray[np.float64], edges: NDArray[np.float64]
) -> PairStatistics:
    margins, chosen, rejected = figures.T
    quartiles = [0.25, 0.5, 0.75]
    by_judge = {str(judge): np.histogram(margins[judges == judge], edges)[0] for judge in np.unique(judges)}
    return PairStatistics(
        round=number,
        pairs=len(margins),
        edges=tuple(edges.tolist()),
        margins={judge: tuple(counts.tolist()) for judge, counts in by_judge.items()},
        chosen=Quartiles(*np.quantile(chosen, quartiles).tolist()),
        rejected=Quartiles(*np.quantile(rejected, quartiles).tolist()),
        longer_chosen=float(np.mean(chosen > rejected) + 0.5 * np.mean(chosen == rejected)),
    )


def answer_changes(run: RunDir, summary: RunSummary) -> AnswerChanges | None:
    """Compare the initial policy's answers with the current one's; if none was promoted, with the last measured one's.

    None if either is missing.
    """
    measured = [policy for policy in summary.policies[1:] if policy.questions is not None]
    later = summary.current if summary.current.number else measured[-1] if measured else None
    if later is None or not names(run.path("initial"), "answers.parquet"):
        return None
    directory = run.round(later.number - 1)
    if "answers.parquet" not in names(directory.root):
        return None
    before = {row["id"]: row for row in read_table(run.path("initial", "answers.parquet")).to_pylist()}
    rows = read_table(directory.path("answers.parquet")).to_pylist()
    changed = [ChangedAnswer(before[row["id"]], row) for row in rows if row["id"] in before]
    scored = [(entry.rise, entry) for entry in changed if entry.rise is not None]
    scored.sort(key=lambda item: (-item[0], item[1].after["id"]))
    better = [entry for rise, entry in scored if rise > 0]
    worse = [entry for rise, entry in reversed(scored) if rise < 0]
    others = [entry for entry in changed if (entry.before["answer"] or "") != (entry.after["answer"] or "")]
    return AnswerChanges(
        policy=later.number,
        scored=len(scored),
        improved=len(better),
        worsened=len(worse),
        rewritten=len(others),
        questions=len(changed),
        best=tuple(better[:IMPROVED_SHOWN]),
        worst=tuple(worse[:WORSENED_SHOWN]),
        others=() if scored else tuple(others[:IMPROVED_SHOWN]),
    )


def training_logs(rounds: Sequence[RoundDir]) -> dict[int, TrainingRecord]:
    """Return the trainings by the rounds that have one."""
    read = {directory.number: TrainingRecord.read(directory.path("training.json")) for directory in rounds}
    return {number: record for number, record in read.items() if record is not None}


def failure_groups(rounds: Sequence[RoundDir]) -> tuple[FailureGroup, ...]:
    """Return the questions that could not be sampled, grouped by reason, the largest group of a round first."""
    groups: list[FailureGroup] = []
    for directory in rounds:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for shard in ShardTable(directory.path("failures"), FAILURES).shards():
            for row in shard.to_pylist():
                # Questions that are too long by different numbers of tokens failed for the same reason.
                found.setdefault((row["stage"], re.sub(r"\d+", "0", row["reason"] or "")), []).append(row)
        for (stage, _), rows in sorted(found.items(), key=lambda item: -len(item[1])):
            examples = tuple(row["prompt_id"] for row in rows[:5])
            groups.append(FailureGroup(directory.number, stage, rows[0]["reason"], len(rows), examples))
    return tuple(groups)
