"""Parquet files of a run, and append-only tables of immutable shards.

Invariant: a file is written whole or not at all, with one of the schemas; a later version of a schema only adds
columns. A shard holds all rows of its questions; no question is in two shards of one table. The work in a shard is
never done again.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlaif.errors import WorkError
from rlaif.io.files import filesystem, join, names, whole_file


class ShardTable:
    """A folder, given by its path or URL, of `part-*.parquet` with one schema, keyed by `prompt_id`."""

    def __init__(self, folder: str, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self._next = 1 + max((int(name[5:-8]) for name in self.parts()), default=-1)

    def parts(self) -> list[str]:
        """Return the names of the shards, in the order of their commits."""
        return [name for name in names(self.folder, ".parquet") if name.startswith("part-")]

    def append(self, rows: Sequence[Mapping[str, Any]]) -> str | None:
        """Commit rows as one shard and return its name, or None without rows. A column that a row lacks is null."""
        return self.append_columns({name: [row.get(name) for row in rows] for name in self.schema.names})

    def append_columns(self, columns: Mapping[str, Sequence[Any]]) -> str | None:
        """Commit all columns of the schema, of equal lengths, as one shard; see `append`.

        The next write reuses the name of a shard whose write failed, so that a retry leaves no second copy.
        """
        table = pa.table({name: pa.array(columns[name], self.schema.field(name).type) for name in self.schema.names})
        if not table.num_rows:
            return None
        name = f"part-{self._next:05d}.parquet"
        write_table(join(self.folder, name), table)
        self._next += 1
        return name

    def prompt_ids(self) -> set[str]:
        """Return the ids of all questions; raise WorkError if one is in two shards, as two drivers of a run cause."""
        seen: set[str] = set()
        for name in self.parts():
            table = self.read(name, ["prompt_id"])
            ids = set(pc.unique(table["prompt_id"]).to_pylist())
            if twice := ids & seen:
                raise WorkError(f"{join(self.folder, name)}: question {min(twice)} is also in an earlier shard")
            seen |= ids
        return seen

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return read_table(join(self.folder, name), columns=columns)

    def shards(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the shards one at a time, in the order of their commits."""
        for name in self.parts():
            yield self.read(name, columns)

    def by_prompt(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each question's id with all its rows."""
        for table in self.shards():
            questions: dict[str, list[dict[str, Any]]] = {}
            for row in table.to_pylist():
                questions.setdefault(row["prompt_id"], []).append(row)
            yield from questions.items()

    def rows(self) -> int:
        return sum(table.num_rows for table in self.shards(columns=["prompt_id"]))


def joined(left: ShardTable, right: ShardTable) -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Yield each question of `left` with its rows in `left` and its rows in `right`.

    Each shard is read once. Memory holds a shard of each table and the rows of `right` whose questions are still to
    come: few, since two tables of one round hold their questions in nearly the same order.
    """
    shard_of = {
        prompt_id: name
        for name in right.parts()
        for prompt_id in pc.unique(right.read(name, ["prompt_id"])["prompt_id"]).to_pylist()
    }
    waiting: dict[str, list[dict[str, Any]]] = {}
    read: set[str] = set()
    for prompt_id, rows in left.by_prompt():
        name = shard_of.get(prompt_id)
        if name is not None and name not in read:
            read.add(name)
            for row in right.read(name).to_pylist():
                waiting.setdefault(row["prompt_id"], []).append(row)
        yield prompt_id, rows, waiting.pop(prompt_id, [])


def write_table(path: str, table: pa.Table) -> None:
    """Write a Parquet file, whole or not at all."""
    with whole_file(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(
    path: str, columns: list[str] | None = None, filters: list[tuple[str, str, str]] | None = None
) -> pa.Table:
    """Read a Parquet file, or only the rows that match all filters; row groups without any are skipped.

    Raises:
        WorkError: the file is damaged, as a broken disk or an incomplete copy leaves it.
    """
    system, path_there = filesystem(path)
    with system.open(path_there, "rb") as file:
        try:
            return pq.read_table(file, columns=columns, filters=filters)
        except pa.ArrowInvalid as error:
            raise WorkError(f"{path}: damaged: {str(error).splitlines()[0]}") from None
