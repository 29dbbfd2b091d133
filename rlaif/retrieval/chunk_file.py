"""Chunks in a file: JSONL or Parquet, written as they come and in place only when whole."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields

from rlaif.documents.document import Chunk
from rlaif.errors import UserError
from rlaif.io.files import whole_file

_ENDINGS = (".jsonl", ".parquet")


@contextmanager
def chunk_writer(path: str) -> Iterator[Callable[[Sequence[Chunk]], None]]:
    """Yield what writes chunks to a file, whose ending says the format; raises UserError for another ending."""
    if not path.endswith(_ENDINGS):
        raise UserError(f"{path}: expected a file of {' or '.join(_ENDINGS)}")
    with whole_file(path) as temporary:
        if path.endswith(".jsonl"):
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                yield lambda chunks: file.writelines(json.dumps(asdict(chunk)) + "\n" for chunk in chunks)
            return
        import pyarrow as pa
        import pyarrow.parquet as pq

        whole = {"page", "place"}
        schema = pa.schema(
            [(field.name, pa.int64() if field.name in whole else pa.string()) for field in fields(Chunk)]
        )
        with pq.ParquetWriter(str(temporary), schema) as writer:
            yield lambda chunks: writer.write_table(
                pa.Table.from_pylist([asdict(chunk) for chunk in chunks], schema=schema)
            )
