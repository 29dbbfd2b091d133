"""All that a report shows beyond a run's summary, read from its tables: pairs, answers, failures, training, time.

Invariant: each part is read on its own and is empty where its files are not there; nothing is estimated.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
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
    """Lower quartile, median and upper quartile."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class PairStatistics:
    """The preference pairs of one round.

    Attributes:
        round: its number.
        pairs: how many.
        edges: the bins' edges of the margins; the same in all rounds.
        margins: pairs in each bin, by the judge that decided.
        chosen, rejected: lengths of the answers in tokens.
        longer_chosen: share of pairs whose chosen answer is the longer one, equal lengths counting half.
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
    """One held-out question, answered by the initial policy and by a later one.

    Attributes:
        id, question, context, reference: of the question.
        before, after: the two answers; "" for a question that could not be answered.
        score_before, score_after: against the reference, where there is one.
    """

    id: str
    question: str
    context: str
    reference: str | None
    before: str
    after: str
    score_before: float | None
    score_after: float | None


@dataclass(frozen=True, slots=True)
class AnswerChanges:
    """What a policy answers otherwise than the initial one.

    Attributes:
        policy: its number.
        scored: questions with a score of both.
        improved, worsened: how many scored higher, and lower.
        rewritten: how many have another text.
        questions: how many both were asked.
        best, worst: those whose scores rose and fell most.
        others: where nothing is scored, some whose text is another.
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
class TrainingLog:
    """The training of one round."""

    round: int
    record: TrainingRecord

    def column(self, name: str) -> tuple[float, ...]:
        """Return a figure of all steps, NaN where a step lacks it; empty if every step does."""
        values = tuple(entry.get(name, math.nan) for entry in self.record.log)
        return () if all(math.isnan(value) for value in values) else values


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Prompts of a round that failed for one reason, figures in it aside.

    Attributes:
        round, stage: where.
        reason: of the first of them, word for word.
        prompts: how many.
        examples: a few of their ids.
    """

    round: int
    stage: str
    reason: str
    prompts: int
    examples: tuple[str, ...]


def pair_statistics(rounds: Sequence[RoundDir]) -> tuple[PairStatistics, ...]:
    """Measure the pairs of the rounds that have any."""
    read = [(directory.number, *_read_pairs(directory)) for directory in rounds if _has(directory, "pairs.parquet")]
    read = [entry for entry in read if entry[2].size]
    if not read:
        return ()
    # Preferences have margins up to 1; judges that rate may use a wider scale.
    widest = max(float(margins.max()) for _, _, margins, _, _ in read)
    edges = np.linspace(0.0, max(1.0, widest), _BINS + 1)
    return tuple(_pair_statistics(*entry, edges) for entry in read)


def _read_pairs(
    directory: RoundDir,
) -> tuple[NDArray[np.str_], NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Return each pair's judge, margin and two lengths, holding a few thousand pairs' tokens in memory at once."""
    judges: list[str] = []
    figures: list[NDArray[np.float64]] = []
    system, path = filesystem(directory.path("pairs.parquet"))
    columns = ["judge", "margin", "chosen_token_ids", "rejected_token_ids"]
    with system.open(path, "rb") as file:
        for batch in pq.ParquetFile(file).iter_batches(batch_size=_PAIRS_AT_ONCE, columns=columns):
            judges += [judge or "people" for judge in batch["judge"].to_pylist()]
            lengths = [pc.list_value_length(batch[name]).to_numpy(zero_copy_only=False) for name in columns[2:]]
            margins = batch["margin"].fill_null(1.0).to_numpy(zero_copy_only=False)
            figures.append(np.column_stack([margins, *lengths]).astype(np.float64))
    table = np.concatenate(figures) if figures else np.empty((0, 3))
    return np.array(judges, dtype=np.str_), table[:, 0], table[:, 1].astype(np.int64), table[:, 2].astype(np.int64)


def _pair_statistics(
    number: int,
    judges: NDArray[np.str_],
    margins: NDArray[np.float64],
    chosen: NDArray[np.int64],
    rejected: NDArray[np.int64],
    edges: NDArray[np.float64],
) -> PairStatistics:
    by_judge = {
        str(judge): tuple(int(count) for count in np.histogram(margins[judges == judge], edges)[0])
        for judge in np.unique(judges)
    }
    return PairStatistics(
        round=number,
        pairs=int(margins.size),
        edges=tuple(float(edge) for edge in edges),
        margins=by_judge,
        chosen=_quartiles(chosen),
        rejected=_quartiles(rejected),
        longer_chosen=float(np.mean(chosen > rejected) + 0.5 * np.mean(chosen == rejected)),
    )


def _quartiles(values: NDArray[np.int64]) -> Quartiles:
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Quartiles(float(low), float(median), float(high))


def answer_changes(run: RunDir, summary: RunSummary) -> AnswerChanges | None:
    """Compare the initial policy's answers with the current one's; where none was promoted, with the last measured.

    Returns:
        None where either is missing.
    """
    measured = [policy for policy in summary.policies[1:] if policy.questions is not None]
    later = summary.current if summary.current.number else measured[-1] if measured else None
    if later is None or not names(run.path("initial"), "answers.parquet"):
        return None
    directory = run.round(later.number - 1)
    if not _has(directory, "answers.parquet"):
        return None
    before = {row["id"]: row for row in read_table(run.path("initial", "answers.parquet")).to_pylist()}
    rows = read_table(directory.path("answers.parquet")).to_pylist()
    changed = [_changed(before[row["id"]], row) for row in rows if row["id"] in before]
    scored = [(_rise(entry), entry) for entry in changed if _rise(entry) is not None]
    ranked = sorted(scored, key=lambda item: (-(item[0] or 0.0), item[1].id))
    better = [entry for rise, entry in ranked if rise and rise > 0]
    worse = [entry for rise, entry in reversed(ranked) if rise and rise < 0]
    others = [entry for entry in changed if entry.before != entry.after]
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


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> ChangedAnswer:
    return ChangedAnswer(
        id=str(after["id"]),
        question=str(after["question"] or ""),
        context=str(after["context"] or ""),
        reference=after["reference"],
        before=str(before["answer"] or ""),
        after=str(after["answer"] or ""),
        score_before=before["score"],
        score_after=after["score"],
    )


def _rise(entry: ChangedAnswer) -> float | None:
    if entry.score_before is None or entry.score_after is None:
        return None
    return entry.score_after - entry.score_before


def training_logs(rounds: Sequence[RoundDir]) -> tuple[TrainingLog, ...]:
    """Return the trainings of the rounds that have one."""
    read = [(directory.number, TrainingRecord.read(directory.path("training.json"))) for directory in rounds]
    return tuple(TrainingLog(number, record) for number, record in read if record is not None)


def failure_groups(rounds: Sequence[RoundDir]) -> tuple[FailureGroup, ...]:
    """Return the prompts that could not be sampled, gathered by reason, most first within a round."""
    groups: list[FailureGroup] = []
    for directory in rounds:
        found: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in _failures(directory):
            # Prompts too long by different figures failed for one reason.
            found.setdefault((row["stage"], re.sub(r"\d+", "0", row["reason"] or "")), []).append(row)
        groups += [
            FailureGroup(
                directory.number, stage, rows[0]["reason"], len(rows), tuple(row["prompt_id"] for row in rows[:5])
            )
            for (stage, _), rows in sorted(found.items(), key=lambda item: -len(item[1]))
        ]
    return tuple(groups)


def _failures(directory: RoundDir) -> Iterator[dict[str, Any]]:
    for shard in ShardTable(directory.path("failures"), FAILURES).shards():
        yield from shard.to_pylist()


def _has(directory: RoundDir, name: str) -> bool:
    return name in names(directory.root)
