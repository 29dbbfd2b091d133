"""How fast chunks are indexed and searched beside SQLite's FTS5, and whether memory stays flat while indexing.

    python benchmarks/search.py --chunks 10000 100000

Peak memory is printed after each tenth of the chunks and after the postings are merged, so that a peak that grows with
the number of chunks shows early. Chunks are made up: words by Zipf's law, and figures of which most occur once, as in
filings. Each size is indexed in a process of its own; both engines then answer the same queries in one process.
"""

import argparse
import json
import random
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from rlaif.documents.document import Chunk
from rlaif.documents.index import Index
from rlaif.documents.search_words import query_terms

_WORDS = [f"word{number}" for number in range(20_000)]
_WEIGHTS = list(accumulate(1 / (rank + 1) for rank in range(len(_WORDS))))
_PER_PAGE, _PER_DOCUMENT = 4, 400


def made_chunks(count: int) -> Iterator[Chunk]:
    """Yield chunks of some 110 words and 30 figures, four a page and a hundred pages a document."""
    draw = random.Random(0)
    for number in range(count):
        words = draw.choices(_WORDS, cum_weights=_WEIGHTS, k=110)
        figures = [f"{draw.randrange(10_000_000):,}" for _ in range(30)]
        name = f"COMPANY{number // _PER_DOCUMENT}_2022_10K"
        page = 1 + number % _PER_DOCUMENT // _PER_PAGE
        yield Chunk(f"{number:016x}", name, name, page, number % _PER_PAGE, " ".join([name, *words, *figures]))


def made_queries(count: int) -> list[str]:
    """Return queries of a document's name and twelve words, common and rare."""
    draw = random.Random(1)
    return [
        f"What was COMPANY{draw.randrange(25)}'s {' '.join(draw.choices(_WORDS, cum_weights=_WEIGHTS, k=12))} in 2022?"
        for _ in range(count)
    ]


def measure(count: int, queries: int, root: Path) -> dict[str, float]:
    """Index and search so many chunks, and return seconds, milliseconds and MiB."""
    began = time.perf_counter()
    index = Index.build(root, _watched(count, began), key=str(count))
    indexed = time.perf_counter() - began
    peak = _peak_mib()
    _tell(f"merged, {peak:.0f} MiB at most, {indexed:.0f} s")
    asked = made_queries(queries)
    ours = _milliseconds(lambda query: index.search(query, 5), asked)

    database = sqlite3.connect(root / "fts5.db")
    database.execute("create virtual table chunks using fts5(text)")
    database.executemany("insert into chunks values (?)", ((chunk.text,) for chunk in index.chunks()))
    database.commit()
    select = "select rowid from chunks where chunks match ? order by rank limit 5"

    def by_fts5(query: str) -> None:
        # The same terms, so that both leave out the same function words.
        database.execute(select, [" OR ".join(f'"{term}"' for term in query_terms(query))]).fetchall()

    theirs = _milliseconds(by_fts5, asked)
    size = sum(file.stat().st_size for file in index.folder.iterdir()) / (1 << 20)
    return {"chunks": count, "index_s": indexed, "peak_mib": peak, "disk_mib": size, "ms": ours, "fts5_ms": theirs}


def _watched(count: int, began: float) -> Iterator[Chunk]:
    """Yield chunks, and print the peak of memory after each tenth."""
    step = max(1, count // 10)
    for number, chunk in enumerate(made_chunks(count), start=1):
        yield chunk
        if number % step == 0:
            _tell(f"{number:,} chunks, {_peak_mib():.0f} MiB at most, {time.perf_counter() - began:.0f} s")


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _tell(text: str) -> None:
    # The result goes to standard output.
    print(f"  {text}", file=sys.stderr, flush=True)


def _milliseconds(search: object, queries: list[str]) -> float:
    assert callable(search)
    times = []
    for query in queries:
        began = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chunks", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--queries", type=int, default=30)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(measure(given.one, given.queries, Path(folder))))
        return
    found = []
    for count in given.chunks:
        command = [sys.executable, __file__, "--one", str(count), "--queries", str(given.queries)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found.append(json.loads(done.stdout))
        one = found[-1]
        print(
            f"{count:,} chunks: indexed in {one['index_s']:.1f} s, peak {one['peak_mib']:.0f} MiB, "
            f"{one['disk_mib']:.0f} MiB on disk; a search {one['ms']:.1f} ms at the median, FTS5 "
            f"{one['fts5_ms']:.1f} ms, ratio {one['ms'] / one['fts5_ms']:.2f}",
            flush=True,
        )
    if len(found) > 1:
        print(f"peak memory, last to first: {found[-1]['peak_mib'] / found[0]['peak_mib']:.2f}")


if __name__ == "__main__":
    main()
