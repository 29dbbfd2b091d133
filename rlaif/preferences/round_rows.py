"""A round's sampled and judged questions, and the file of rows that an objective makes of them.

Invariant: the file depends only on the rows, not on the order in which they were stored, and the memory to write it
does not grow with the round: shards are read one by one, and the rows are sorted externally, first into files by range
of the question ids, then within each file.
"""

import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.chat import Messages, visible_answer
from rlaif.io.files import whole_file
from rlaif.judges.judge import Judge, Verdict, stored_verdict
from rlaif.preferences.rewards import candidate_rewards
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, VERDICTS
from rlaif.store.shards import ShardTable, joined

_QUESTIONS_PER_RANGE = 8192
_ROWS_PER_APPEND = 4096

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JudgedQuestion:
    """A question of a round.

    Attributes:
        round: its number.
        sampled: the rows of the candidates, by their numbers.
        verdicts: all that are stored.
    """

    id: str
    round: int
    sampled: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Verdict]

    def rewards(self, judge: Judge) -> list[float | None]:
        """Return the reward of each candidate; see `candidate_rewards`."""
        return candidate_rewards(judge, self.id, len(self.sampled), self.verdicts)

    def answer_columns(self, candidate: Mapping[str, Any], prompt: Messages, judge: Judge) -> Row:
        """Return the columns that rows of single answers share; `prompt` is the chat that asked the policy."""
        copied = ("prompt_id", "candidate", "prompt_token_ids", "token_ids", "policy")
        return {
            **{name: candidate[name] for name in copied},
            "chunks": candidate.get("chunks"),
            "prompt": prompt,
            "answer": [{"role": "assistant", "content": candidate["text"]}],
            "source": "ai",
            "judge": judge.name,
            "judge_sha": judge.sha,
            "round": self.round,
        }


def no_example(candidate: Mapping[str, Any]) -> str | None:
    """Return why an answer must not be imitated, whatever its reward: `truncated`, `unfinished` or `empty`; or None."""
    if candidate["finish_reason"] == "length":
        return "truncated"
    visible = visible_answer(candidate["text"])
    return "unfinished" if visible is None else None if visible.strip() else "empty"


def judged_questions(directory: RoundDir) -> Iterator[JudgedQuestion]:
    """Yield the questions of a round that were sampled, in the order in which they were stored."""
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)
    for question_id, sampled, judged in joined(candidates, verdicts):
        by_number = sorted(sampled, key=lambda row: int(row["candidate"]))
        yield JudgedQuestion(question_id, directory.number, by_number, [stored_verdict(row) for row in judged])


def write_rows(
    directory: RoundDir, name: str, schema: pa.Schema, rows: Iterable[Row], *, then_by: str, first: Sequence[Row] = ()
) -> int:
    """Write the rows of a sampled round to a file of its folder, sorted by `prompt_id` and another column.

    Returns how many there are.

    Args:
        first: rows that come before all others, as they are. A column that a row lacks is null.
    """
    starts = sorted(ShardTable(directory.path("candidates"), CANDIDATES).prompt_ids())[::_QUESTIONS_PER_RANGE]
    with whole_file(directory.path(name)) as temporary, pq.ParquetWriter(
        temporary, schema, compression="zstd"
    ) as writer:  # fmt: skip
        if first:
            writer.write_table(_table(first, schema))
        written = len(first)
        for table in _sorted_ranges(rows, starts, schema, then_by):
            writer.write_table(table)
            written += table.num_rows
    return written


def _sorted_ranges(rows: Iterable[Row], starts: list[str], schema: pa.Schema, then_by: str) -> Iterator[pa.Table]:
    """Yield the rows range by range of `prompt_id`, each sorted; `starts` are the ranges' first ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(starts))]
        with ExitStack() as stack:
            ranges = [stack.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
            gathered: dict[int, list[Row]] = defaultdict(list)
            for count, row in enumerate(rows, start=1):
                gathered[max(0, bisect_right(starts, row["prompt_id"]) - 1)].append(row)
                if count % _ROWS_PER_APPEND == 0:
                    _append(ranges, gathered, schema)
            _append(ranges, gathered, schema)
        for path in paths:
            with pa.ipc.open_stream(str(path)) as stream:
                yield stream.read_all().sort_by([("prompt_id", "ascending"), (then_by, "ascending")])


def _append(ranges: list[Any], gathered: dict[int, list[Row]], schema: pa.Schema) -> None:
    for number, rows in gathered.items():
        ranges[number].write_table(_table(rows, schema))
    gathered.clear()


def _table(rows: Sequence[Row], schema: pa.Schema) -> pa.Table:
    return pa.table({name: pa.array([row.get(name) for row in rows], schema.field(name).type) for name in schema.names})
