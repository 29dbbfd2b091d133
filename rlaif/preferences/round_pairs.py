"""From a round's stored candidates and verdicts to its `pairs.parquet`.

Invariant: the file depends on what was sampled and judged alone, not on the order in which it came; and the memory that
it takes to write does not grow with the round. Candidates and verdicts are read shard by shard, and the pairs sorted as
in any external sort: into files by ranges of the prompts' ids, then each of those by itself.
"""

import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.io.files import whole_file
from rlaif.judges.judge import Judge
from rlaif.judges.verdict import Verdict
from rlaif.preferences.pairs import PairCounts, pair_rows
from rlaif.recipe import PairsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, PAIRS, VERDICTS
from rlaif.store.shards import ShardTable, joined

_PROMPTS_AT_ONCE = 8192
_ROWS_AT_ONCE = 4096


def write_pairs(
    directory: RoundDir,
    prompts: Mapping[str, Question],
    judge: Judge,
    section: PairsSection,
    render: Callable[[Question], Messages],
) -> PairCounts:
    """Write the pairs of a round, sorted by prompt and pair id, and return what the pairing saw.

    Args:
        directory: the round's folder, sampled and judged; takes `pairs.parquet`.
        prompts: the train set by id.
        judge: decides what the verdicts come to.
        section: which decisions become pairs.
        render: gives the chat that the policy was asked.
    """
    counts = PairCounts()
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)

    def rows() -> Iterator[dict[str, Any]]:
        for prompt_id, sampled, judged in joined(candidates, verdicts):
            yield from pair_rows(
                prompts[prompt_id],
                sampled,
                [Verdict(**row) for row in judged],
                judge=judge,
                section=section,
                render=render,
                round_number=directory.number,
                counts=counts,
            )

    starts = sorted(candidates.prompt_ids())[::_PROMPTS_AT_ONCE]
    with whole_file(directory.path("pairs.parquet")) as temporary, pq.ParquetWriter(
        temporary, PAIRS, compression="zstd"
    ) as writer:  # fmt: skip
        for table in _sorted_ranges(rows(), starts):
            writer.write_table(table)
    return counts


def _sorted_ranges(rows: Iterable[dict[str, Any]], starts: list[str]) -> Iterator[pa.Table]:
    """Yield the rows range by range of `prompt_id`, each sorted; `starts` are the ranges' first ids."""
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / str(number) for number in range(len(starts))]
        with ExitStack() as stack:
            ranges = [stack.enter_context(pa.ipc.new_stream(str(place), PAIRS)) for place in places]
            gathered: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for count, row in enumerate(rows, start=1):
                gathered[bisect_right(starts, row["prompt_id"]) - 1].append(row)
                if count % _ROWS_AT_ONCE == 0:
                    _append(ranges, gathered)
            _append(ranges, gathered)
        for place in places:
            with pa.ipc.open_stream(str(place)) as stream:
                yield stream.read_all().sort_by([("prompt_id", "ascending"), ("pair_id", "ascending")])


def _append(ranges: list[Any], gathered: dict[int, list[dict[str, Any]]]) -> None:
    for number, rows in gathered.items():
        ranges[number].write_table(pa.Table.from_pylist(rows, schema=PAIRS))
    gathered.clear()
