"""Finds the preference pair of a run by its id, or by the beginning of the id."""

from bisect import bisect_left
from itertools import takewhile
from typing import Any

import pyarrow.compute as pc

from rlaif.errors import UserError
from rlaif.io.files import names
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.store.shards import read_table

_NAMED = 5
_LEAST_LIKENESS = 3


def find_pair(run: RunDir, pair_id: str) -> tuple[RoundDir, dict[str, Any]]:
    """Return the round of a pair and its row of `pairs.parquet`, by its id or a beginning that no other pair shares.

    Raises:
        UserError: no pair has the id, or several do.
    """
    found: list[tuple[RoundDir, str]] = []
    known: list[str] = []
    for directory in run.rounds():
        if "pairs.parquet" not in names(directory.root):
            continue
        column = read_table(directory.path("pairs.parquet"), ["pair_id"])["pair_id"]
        found += [(directory, whole) for whole in column.filter(pc.starts_with(column, pattern=pair_id)).to_pylist()]
        known += column.to_pylist()
    exact = [entry for entry in found if entry[1] == pair_id]
    if len(found) != 1 and not exact:
        raise UserError(f"{run.root}: {_no_such_pair(pair_id, known, [whole for _, whole in found])}")
    directory, whole = (exact or found)[0]
    rows = read_table(directory.path("pairs.parquet"), filters=[("pair_id", "==", whole)]).to_pylist()
    return directory, rows[0]


def _no_such_pair(pair_id: str, known: list[str], found: list[str]) -> str:
    if not known:
        return f"no pair {pair_id}: no round has pairs yet"
    if found:
        some = ", ".join(sorted(found)[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
        return f"{len(found)} pairs begin with {pair_id!r}: {some}; expected more of the id"
    ordered = sorted(known)
    position = bisect_left(ordered, pair_id)
    # In sorted order, the id with the longest common beginning is a neighbour of the position of the id itself.
    near = max(ordered[max(position - 1, 0) : position + 1], key=lambda other: _shared(pair_id, other))
    hint = f"the closest is {near}" if _shared(pair_id, near) >= _LEAST_LIKENESS else f"an id looks like {near}"
    return f"no pair {pair_id} among {len(known)} pairs; {hint}"


def _shared(one: str, other: str) -> int:
    """Return the length of the common beginning of two ids."""
    return sum(1 for _ in takewhile(lambda letters: letters[0] == letters[1], zip(one, other, strict=False)))
