"""Finds an answer that a round learned from by itself, not in a pair, and traces it through the files of its run.

Such an answer is a row of a file that the round's objective gathered: a demonstration, a rating or a rollout.

Invariant: nothing is inferred; a fact that the files do not hold is left out.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlaif.io.files import names
from rlaif.store import lineage
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import read_table
from rlaif.store.trace import is_withheld, traced_chunks, traced_training, verdicts_on

_FILES: Mapping[str, tuple[str, str]] = {
    "demonstrations.parquet": ("demonstration", "id"),
    "ratings.parquet": ("rating", "rating_id"),
    "rollouts.parquet": ("rollout", "rollout_id"),
}
"""What a row of each file is, and the column of its id."""
_TEXTS = ("prompt", "answer")


@dataclass(frozen=True, slots=True)
class TracedAnswer:
    """The provenance of one answer that a round learned from.

    Attributes:
        kind: `demonstration`, `rating` or `rollout`.
        prompt, answer: as messages with role and content.
        facts: the other columns of its row that hold one value, by name.
        verdicts: on the answer alone or beside others; empty where no judge was asked.
        chunks: what the context was retrieved as, best first; empty where it was not retrieved.
        withheld: whether the evidence was left out of the context, so that a refusal is right.
    """

    run: str
    id: str
    kind: str
    prompt: list[dict[str, str]]
    answer: list[dict[str, str]]
    facts: Mapping[str, Any]
    verdicts: tuple[lineage.TracedVerdict, ...]
    training: lineage.TracedTraining
    chunks: tuple[lineage.TracedChunk, ...] = ()
    withheld: bool = False


def trace_answer(run: RunDir, answer_id: str) -> TracedAnswer | None:
    """Return the provenance of the answer with an id, that of the last round that learned it; None where none did."""
    found = None
    for directory, (kind, _), row in _rows(run, answer_id):
        found = TracedAnswer(
            run=run.root,
            id=answer_id,
            kind=kind,
            prompt=row["prompt"],
            answer=row["answer"],
            facts={name: value for name, value in row.items() if name not in _TEXTS and _is_fact(value)},
            verdicts=verdicts_on(directory, row),
            training=traced_training(directory),
            chunks=traced_chunks(run, row.get("prompt_id") or answer_id, row.get("chunks")),
            withheld=is_withheld(run, row.get("prompt_id") or answer_id, row.get("chunks")),
        )
    return found


def _rows(run: RunDir, answer_id: str) -> Iterator[tuple[RoundDir, tuple[str, str], dict[str, Any]]]:
    for directory in run.rounds():
        present = names(directory.root)
        for file, (kind, column) in _FILES.items():
            if file in present:
                rows = read_table(directory.path(file), filters=[(column, "==", answer_id)]).to_pylist()
                yield from ((directory, (kind, column), row) for row in rows[:1])


def _is_fact(value: object) -> bool:
    return value is not None and not isinstance(value, list)
