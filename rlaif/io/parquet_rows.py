"""Rows of Parquet, with only the columns that are wanted.

Invariant: values are Python's own: maps are dicts, decimals and dates are objects; nothing is rounded.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from rlaif.errors import Fault, UserError, first_line
from rlaif.io.content import refuse_other
from rlaif.io.row import Row


def parquet_rows(path: str, file: Any, columns: Sequence[str]) -> Iterator[Row]:
    """Read the rows, of the wanted columns only."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    refuse_other(path, file, "Parquet", starts=b"PAR1")
    try:
        parquet = pq.ParquetFile(pa.BufferReader(file.read()))
        there = list(parquet.schema_arrow.names)
        if repeated := sorted({column for column in there if column in columns and there.count(column) > 1}):
            raise UserError(Fault(path, f"two columns named {repeated[0]!r}", expected="each name once"))
        batches = parquet.iter_batches(columns=[column for column in there if column in columns])
        rows = chain.from_iterable(batch.to_pylist(maps_as_pydicts="strict") for batch in batches)
        for number, values in enumerate(rows, start=1):
            yield Row(path, values, there, number=number)
    # A map with a key twice, and a date that Python has not.
    except (KeyError, OverflowError) as error:
        raise UserError(Fault(path, f"a value cannot be read: {first_line(error)}")) from None
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(Fault(path, f"not Parquet: {first_line(error)}")) from None
