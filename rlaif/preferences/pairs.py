"""Preference pairs from verdicts: the rows of one question, and a round's `pairs.parquet`.

Invariant: only a decision of status `ok` becomes a pair. Ties, unreadable verdicts and errors are counted, and none is
read as a preference or a score.

A round's file depends only on the candidates and verdicts, not on the order in which they were stored, and the memory
to write it does not grow with the round: shards are read one by one, and the pairs are sorted externally, first into
files by range of the question ids, then within each file.
"""

import hashlib
import tempfile
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.io.files import whole_file
from rlaif.judges.judge import Decision, Judge, Verdict
from rlaif.recipe import PairsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.tables import CANDIDATES, PAIRS, VERDICTS, ShardTable, joined

_QUESTIONS_PER_RANGE = 8192
_ROWS_PER_APPEND = 4096


@dataclass
class PairCounts:
    """Counts over the questions that were paired.

    Attributes:
        prompts: questions with at least one pair.
        below_margin: decided comparisons that `pairs.min_margin` left out.
        by_status: comparisons by the status of their decision.
        by_judge: pairs by the judge that decided.
    """

    prompts: int = 0
    pairs: int = 0
    below_margin: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    by_judge: Counter[str] = field(default_factory=Counter)


def pair_id(*parts: object) -> str:
    """Return the id of a pair: a hash of the parts that identify it, so that the same pair always has the same id."""
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()[:16]


def choose(decisions: Sequence[Decision], section: PairsSection) -> list[Decision]:
    """Return the decisions on one question that become pairs, widest margins first."""
    usable = [
        decision
        for decision in decisions
        if decision.status == "ok" and decision.margin is not None and decision.margin >= section.min_margin
    ]
    usable.sort(key=lambda decision: (-(decision.margin or 0.0), decision.first, decision.second))
    limit = 1 if section.per_question == "best-worst" else section.max_per_question
    return usable[:limit]


def pair_rows(
    question: Question,
    answers: Mapping[int, str],
    verdicts: Sequence[Verdict],
    messages: Messages,
    *,
    judge: Judge,
    section: PairsSection,
    source_columns: Callable[[int, int], dict[str, Any]],
    counts: PairCounts,
) -> list[dict[str, Any]]:
    """Return the rows of `pairs.parquet` for one question.

    Args:
        answers: the candidates' texts by index.
        messages: the chat that asks the question.
        section: which decisions become pairs.
        source_columns: given the indices of the chosen and the rejected candidate, returns `pair_id` and the columns
            that depend on where the candidates come from.
        counts: added to.
    """
    decisions = judge.decide(question.id, len(answers), verdicts)
    counts.by_status.update(decision.status for decision in decisions)
    counts.below_margin += sum(
        decision.status == "ok" and (decision.margin or 0.0) < section.min_margin for decision in decisions
    )
    rows = []
    for decision in choose(decisions, section):
        first_wins = (decision.preference or 0.0) > 0.5
        chosen, rejected = (decision.first, decision.second) if first_wins else (decision.second, decision.first)
        scores = {decision.first: decision.score_first, decision.second: decision.score_second}
        counts.by_judge[decision.judge] += 1
        rows.append(
            {
                **source_columns(chosen, rejected),
                "prompt": messages,
                "chosen": [{"role": "assistant", "content": answers[chosen]}],
                "rejected": [{"role": "assistant", "content": answers[rejected]}],
                "prompt_id": question.id,
                "chosen_candidate": chosen,
                "rejected_candidate": rejected,
                "score_chosen": scores[chosen],
                "score_rejected": scores[rejected],
                "margin": decision.margin,
                "source": "ai",
                "judge": decision.judge,
                "judge_sha": decision.judge_sha,
            }
        )
    counts.pairs += len(rows)
    counts.prompts += bool(rows)
    return rows


def write_pairs(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    section: PairsSection,
    *,
    render: Callable[[Question], Messages],
) -> PairCounts:
    """Write the pairs of a sampled and judged round, sorted by question and pair id, and return their counts.

    Args:
        questions: the train set by id.
        render: returns the chat that the policy was asked.
    """
    counts = PairCounts()
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)

    def rows() -> Iterator[dict[str, Any]]:
        for question_id, sampled, judged in joined(candidates, verdicts):
            question = questions[question_id]
            yield from pair_rows(
                question,
                {row["candidate"]: row["text"] for row in sampled},
                [Verdict(**row) for row in judged],
                render(question),
                judge=judge,
                section=section,
                source_columns=sampled_columns(directory.number, sampled),
                counts=counts,
            )

    starts = sorted(candidates.prompt_ids())[::_QUESTIONS_PER_RANGE]
    with whole_file(directory.path("pairs.parquet")) as temporary, pq.ParquetWriter(
        temporary, PAIRS, compression="zstd"
    ) as writer:  # fmt: skip
        for table in _sorted_ranges(rows(), starts):
            writer.write_table(table)
    return counts


def sampled_columns(round_number: int, candidates: Sequence[Mapping[str, Any]]) -> Callable[[int, int], dict[str, Any]]:
    """Return the `source_columns` of `pair_rows` for a question's rows of a round's candidates."""
    by_index = {row["candidate"]: row for row in candidates}

    def columns(chosen: int, rejected: int) -> dict[str, Any]:
        won, lost = by_index[chosen], by_index[rejected]
        return {
            "pair_id": pair_id(round_number, won["prompt_id"], chosen, rejected),
            "prompt_token_ids": won["prompt_token_ids"],
            "chosen_token_ids": won["token_ids"],
            "rejected_token_ids": lost["token_ids"],
            "ref_chosen_logp": sum(won["logprobs"]),
            "ref_rejected_logp": sum(lost["logprobs"]),
            "policy": won["policy"],
            "round": round_number,
        }

    return columns


def _sorted_ranges(rows: Iterable[dict[str, Any]], starts: list[str]) -> Iterator[pa.Table]:
    """Yield the rows range by range of `prompt_id`, each sorted; `starts` are the ranges' first ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(starts))]
        with ExitStack() as stack:
            ranges = [stack.enter_context(pa.ipc.new_stream(str(path), PAIRS)) for path in paths]
            gathered: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for count, row in enumerate(rows, start=1):
                gathered[bisect_right(starts, row["prompt_id"]) - 1].append(row)
                if count % _ROWS_PER_APPEND == 0:
                    _append(ranges, gathered)
            _append(ranges, gathered)
        for path in paths:
            with pa.ipc.open_stream(str(path)) as stream:
                yield stream.read_all().sort_by([("prompt_id", "ascending"), ("pair_id", "ascending")])


def _append(ranges: list[Any], gathered: dict[int, list[dict[str, Any]]]) -> None:
    for number, rows in gathered.items():
        ranges[number].write_table(pa.Table.from_pylist(rows, schema=PAIRS))
    gathered.clear()
