"""An append-only table of immutable Parquet shards: candidates, verdicts and failures of a round.

Invariant: a shard is there whole or not at all, holds all rows of the prompts in it, and no prompt stands in two
shards of one table. What is in a shard is done and paid for.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rlaif.errors import WorkError
from rlaif.io.files import filesystem, join, names, whole_file


class ShardTable:
    """A folder of `part-*.parquet` with one schema, keyed by `prompt_id`.

    Args:
        folder: path or URL of the table.
        schema: of every shard.
    """

    def __init__(self, folder: str, schema: pa.Schema) -> None:
        self.folder, self.schema = folder, schema
        self._next = 1 + max((int(name[5:-8]) for name in self.parts()), default=-1)

    def parts(self) -> list[str]:
        """Return the shards' names, in the order in which they were committed."""
        return [name for name in names(self.folder, ".parquet") if name.startswith("part-")]

    def append(self, rows: Sequence[Mapping[str, Any]]) -> str | None:
        """Commit rows as one shard and return its name; no rows write nothing. A column that a row lacks is null."""
        return self.append_columns({name: [row.get(name) for row in rows] for name in self.schema.names})

    def append_columns(self, columns: Mapping[str, Sequence[Any]]) -> str | None:
        """Commit columns of one length, all those of the schema, as one shard; otherwise as `append`.

        A write that fails leaves the shard's name for the next one, so that trying again leaves no second copy.
        """
        table = pa.table({name: pa.array(columns[name], self.schema.field(name).type) for name in self.schema.names})
        if not table.num_rows:
            return None
        name = f"part-{self._next:05d}.parquet"
        write_table(join(self.folder, name), table)
        self._next += 1
        return name

    def prompt_ids(self) -> set[str]:
        """Return the ids of all prompts in the table.

        Raises:
            WorkError: a prompt stands in two shards; the run was written to by two drivers.
        """
        seen: set[str] = set()
        for name in self.parts():
            table = self.read(name, ["prompt_id"])
            ids = set(pc.unique(table["prompt_id"]).to_pylist())
            if twice := ids & seen:
                raise WorkError(f"{join(self.folder, name)}: prompt {min(twice)} stands in an earlier shard too")
            seen |= ids
        return seen

    def read(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """Return a shard, or some of its columns."""
        return read_table(join(self.folder, name), columns=columns)

    def shards(self, columns: list[str] | None = None) -> Iterator[pa.Table]:
        """Yield the shards, one at a time, in the order in which they were committed."""
        for name in self.parts():
            yield self.read(name, columns)

    def by_prompt(self) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """Yield each prompt's id with all its rows."""
        for table in self.shards():
            prompts: dict[str, list[dict[str, Any]]] = {}
            for row in table.to_pylist():
                prompts.setdefault(row["prompt_id"], []).append(row)
            yield from prompts.items()

    def rows(self) -> int:
        """Return how many rows the table has."""
        return sum(table.num_rows for table in self.shards(columns=["prompt_id"]))


def joined(left: ShardTable, right: ShardTable) -> Iterator[tuple[str, list[dict[str, Any]], list[dict[str, Any]]]]:
    """Yield each prompt of `left` with its rows there and its rows in `right`, none where it has none.

    A shard is read once. Held at a time are a shard of each and those rows of `right` whose prompts have not come yet:
    few, since two tables of one round hold their prompts in nearly the same order.
    """
    place = {
        prompt_id: name
        for name in right.parts()
        for prompt_id in pc.unique(right.read(name, ["prompt_id"])["prompt_id"]).to_pylist()
    }
    waiting: dict[str, list[dict[str, Any]]] = {}
    read: set[str] = set()
    for prompt_id, rows in left.by_prompt():
        name = place.get(prompt_id)
        if name is not None and name not in read:
            read.add(name)
            for row in right.read(name).to_pylist():
                waiting.setdefault(row["prompt_id"], []).append(row)
        yield prompt_id, rows, waiting.pop(prompt_id, [])


def write_table(place: str, table: pa.Table) -> None:
    """Write a Parquet file, whole or not at all."""
    with whole_file(place) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def read_table(place: str, columns: list[str] | None = None) -> pa.Table:
    """Read a Parquet file from a path or URL.

    Raises:
        WorkError: the file is not whole; nothing of ours leaves such a one, but a disk or a copy may.
    """
    system, path = filesystem(place)
    with system.open(path, "rb") as file:
        try:
            return pq.read_table(file, columns=columns)
        except pa.ArrowInvalid as error:
            raise WorkError(f"{place}: damaged: {str(error).splitlines()[0]}") from None
