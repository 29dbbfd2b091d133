"""A round's `pairs.parquet`, from its stored candidates and verdicts, and from what people decided and prefer.

The file depends only on them, not on the order in which they were stored, and the memory to write it does not grow with
the round: shards are read one by one, and the pairs are sorted externally, first into files by range of the question
ids, then within each file.
"""

import tempfile
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.io.files import whole_file
from rlaif.judges.judge import Comparison, Judge, stored_verdict
from rlaif.preferences.pairs import PEOPLE, PairCounts, PeopleDecision, pair_id, pair_rows
from rlaif.recipe import PairsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, PAIRS, VERDICTS
from rlaif.store.shards import ShardTable, joined

_QUESTIONS_PER_RANGE = 8192
_ROWS_PER_APPEND = 4096


def write_pairs(
    directory: RoundDir,
    questions: Mapping[str, Question],
    judge: Judge,
    section: PairsSection,
    *,
    render: Callable[[Question], Messages],
    people: Mapping[str, Mapping[Comparison, PeopleDecision]] | None = None,
    preferences: Sequence[dict[str, Any]] = (),
) -> PairCounts:
    """Write the pairs of a sampled and judged round, sorted by question and pair id, and return their counts.

    Args:
        questions: the train set by id.
        render: returns the chat that the policy was asked.
        people: what people decided of the candidates, by question.
        preferences: rows of people's own pairs, which join; a judge's pair of the same prompt and answers is left out.
    """
    counts = PairCounts()
    known = {_compared(row) for row in preferences}
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)

    def rows() -> Iterator[dict[str, Any]]:
        for question_id, sampled, judged in joined(candidates, verdicts):
            question = questions[question_id]
            made = pair_rows(
                question,
                {row["candidate"]: row["text"] for row in sampled},
                [stored_verdict(row) for row in judged],
                render(question),
                judge=judge,
                section=section,
                source_columns=sampled_columns(directory.number, sampled),
                counts=counts,
                cut={row["candidate"] for row in sampled if row["finish_reason"] == "length"},
                people=(people or {}).get(question_id),
            )
            replaced = [row for row in made if row["source"] == "ai" and _compared(row) in known] if known else []
            counts.pairs -= len(replaced)
            if replaced and len(replaced) == len(made):
                counts.prompts -= 1
            counts.by_judge.subtract(row["judge"] for row in replaced)
            yield from (row for row in made if row not in replaced)
        if preferences:
            yield from preferences
            counts.pairs += len(preferences)
            counts.preferences += len(preferences)
            counts.by_judge[PEOPLE] += len(preferences)

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


def _compared(row: Mapping[str, Any]) -> tuple[tuple[int, ...], frozenset[tuple[int, ...]]]:
    """Return what identifies the comparison of a pair, whichever answer it prefers: prompt and answers as token ids."""
    answers = frozenset(tuple(row[f"{side}_token_ids"]) for side in ("chosen", "rejected"))
    return tuple(row["prompt_token_ids"]), answers


def _sorted_ranges(rows: Iterable[dict[str, Any]], starts: list[str]) -> Iterator[pa.Table]:
    """Yield the rows range by range of `prompt_id`, each sorted; `starts` are the ranges' first ids."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / str(number) for number in range(len(starts))]
        with ExitStack() as stack:
            ranges = [stack.enter_context(pa.ipc.new_stream(str(path), PAIRS)) for path in paths]
            gathered: dict[int, list[dict[str, Any]]] = defaultdict(list)
            for count, row in enumerate(rows, start=1):
                gathered[max(0, bisect_right(starts, row["prompt_id"]) - 1)].append(row)
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
