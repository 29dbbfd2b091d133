"""From a round's stored candidates and verdicts to its table of pairs.

Invariant: the table depends on what was sampled and judged alone, not on the order in which it came. Candidates and
verdicts are read shard by shard; what is held of all the round is its pairs.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from rlaif.engines.requests import Messages
from rlaif.judging.judge import Judge
from rlaif.judging.verdict import Verdict
from rlaif.preferences.pairs import PairCounts, pair_rows
from rlaif.questions.prompt import Prompt
from rlaif.recipe import PairsSection
from rlaif.store.rundir import RoundDir
from rlaif.store.schemas import CANDIDATES, PAIRS, VERDICTS
from rlaif.store.shards import ShardTable, joined

# Each table of Arrow has its own overhead; one for each prompt would weigh more than its pairs.
_ROWS_AT_ONCE = 4096


def paired(
    directory: RoundDir,
    prompts: Mapping[str, Prompt],
    judge: Judge,
    section: PairsSection,
    render: Callable[[Prompt], Messages],
) -> tuple[pa.Table, PairCounts]:
    """Return the pairs of a round, sorted by prompt and pair id, and what the pairing saw.

    Args:
        directory: the round's folder, sampled and judged.
        prompts: the train set by id.
        judge: decides what the verdicts come to.
        section: which decisions become pairs.
        render: gives the chat that the policy was asked.
    """
    counts = PairCounts()
    candidates = ShardTable(directory.path("candidates"), CANDIDATES)
    verdicts = ShardTable(directory.path("verdicts"), VERDICTS)

    def tables() -> Iterator[pa.Table]:
        rows: list[dict[str, Any]] = []
        for prompt_id, sampled, judged in joined(candidates, verdicts):
            rows += pair_rows(
                prompts[prompt_id],
                sampled,
                [Verdict(**row) for row in judged],
                judge=judge,
                section=section,
                render=render,
                round_number=directory.number,
                counts=counts,
            )
            if len(rows) >= _ROWS_AT_ONCE:
                yield pa.Table.from_pylist(rows, schema=PAIRS)
                rows = []
        yield pa.Table.from_pylist(rows, schema=PAIRS)

    table = pa.concat_tables(tables())
    return table.sort_by([("prompt_id", "ascending"), ("pair_id", "ascending")]), counts
