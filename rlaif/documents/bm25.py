"""BM25 over postings on disk, whose memory does not grow with the number of texts.

The score of a text d for a query is the sum over the query's terms t of

    idf(t) * tf * (k1 + 1) / (tf + k1 * (1 - b + b * |d| / average |d|)),
    idf(t) = ln(1 + (N - df + 0.5) / (df + 0.5)),

with tf the occurrences of t in d, df the number of texts that have t and N the number of texts (Robertson & Zaragoza
2009, "The Probabilistic Relevance Framework: BM25 and Beyond", section 3.4). The 1 within the logarithm is Lucene's: it
keeps a term of more than half of the texts from counting against them. A term's share of a score depends on no query,
so it is computed while writing, and a search only adds (as in BM25S, Lù 2024, arXiv:2407.03618).

Invariant: the scores depend on the texts and the parameters alone, not on how many postings are held at once.
"""

from array import array
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

K1, B = 0.9, 0.4
"""Those of Anserini (Yang et al. 2018, "Anserini: Reproducible Ranking Baselines Using Lucene", JDIQ 10(4))."""
HELD = 1 << 20
"""Postings in memory at once."""
_FILES = {name: np.dtype(kind) for name, kind in
          {"terms": np.uint64, "starts": np.uint64, "texts": np.uint32, "weights": np.float32}.items()}  # fmt: skip
_RUN_FILES = {name: np.dtype(kind) for name, kind in
              {"terms": np.uint64, "texts": np.uint32, "counts": np.uint32}.items()}  # fmt: skip

Floats = NDArray[np.float32]
_Columns = tuple[NDArray[Any], NDArray[Any], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Bm25Settings:
    """The parameters of BM25.

    Attributes:
        k1: how slowly repetitions of a term cease to count; 0 counts each term once.
        b: from 0 to 1, how much the length of a text counts against it.
    """

    k1: float = K1
    b: float = B


class PostingsWriter:
    """Gathers the terms of texts in sorted runs on disk, and then merges them into postings.

    Args:
        folder: exists; the files are written into it.
        name: what the files' names begin with.
        held: postings in memory at once; None holds HELD.
    """

    def __init__(self, folder: Path, name: str, held: int | None = None) -> None:
        self._folder, self._name, self._held = folder, name, held or HELD
        self._terms, self._texts, self._counts = array("Q"), array("I"), array("I")
        self._lengths = array("f")
        self._run_lengths: list[int] = []

    def add(self, terms: Mapping[int, int]) -> None:
        """Add the next text: the occurrences of each of its terms, by the term's id."""
        self._terms.extend(terms.keys())
        self._texts.extend([len(self._lengths)] * len(terms))
        self._counts.extend(terms.values())
        self._lengths.append(sum(terms.values()))
        if len(self._terms) >= self._held:
            self._end_run()

    def finish(self, settings: Bm25Settings) -> None:
        """Merge the runs into the postings, and remove them."""
        self._end_run()
        lengths = np.frombuffer(self._lengths, np.float32) if self._lengths else np.zeros(0, np.float32)
        average = float(lengths.mean(dtype=np.float64)) or 1.0 if len(lengths) else 1.0
        norms = (settings.k1 * (1 - settings.b + settings.b * lengths / average)).astype(np.float32)
        written = 0
        with ExitStack() as stack:
            files = {name: stack.enter_context(open(self._path(name), "wb")) for name in _FILES}
            for terms, texts, counts in self._merged():
                distinct, first, df = np.unique(terms, return_index=True, return_counts=True)
                idf = np.log1p((len(lengths) - df + 0.5) / (df + 0.5))
                weights = np.repeat(idf, df) * counts * (settings.k1 + 1) / (counts + norms[texts])
                files["terms"].write(distinct.tobytes())
                files["starts"].write((written + first).astype(np.uint64).tobytes())
                files["texts"].write(texts.tobytes())
                files["weights"].write(weights.astype(np.float32).tobytes())
                written += len(terms)
            files["starts"].write(np.uint64(written).tobytes())
        for number in range(len(self._run_lengths)):
            for name in _RUN_FILES:
                self._path(f"{number}-{name}").unlink()

    def _path(self, name: str) -> Path:
        return self._folder / f"{self._name}-{name}"

    def _end_run(self) -> None:
        """Write the postings in memory, sorted by term; their texts are in order already."""
        if not self._terms:
            return
        terms = np.frombuffer(self._terms, np.uint64)
        order = np.argsort(terms, kind="stable")
        number = len(self._run_lengths)
        columns: _Columns = (terms, np.frombuffer(self._texts, np.uint32), np.frombuffer(self._counts, np.uint32))
        for name, column in zip(_RUN_FILES, columns, strict=True):
            column[order].tofile(self._path(f"{number}-{name}"))
        self._run_lengths.append(len(terms))
        self._terms, self._texts, self._counts = array("Q"), array("I"), array("I")

    def _merged(self) -> Iterator[_Columns]:
        """Yield all postings by term and text, in parts of whole terms that fit in memory.

        Ids are hashes, so equal parts of their range hold about as many terms.
        """
        parts = max(1, -(-sum(self._run_lengths) // self._held))
        bounds = [self._bounds(number, parts) for number in range(len(self._run_lengths))]
        for part in range(parts):
            terms, texts, counts = (
                np.concatenate(
                    [
                        # Read and not mapped: mapped pages would count as memory of this process.
                        np.fromfile(self._path(f"{number}-{name}"), kind, end - start, offset=start * kind.itemsize)
                        for number, (start, end) in enumerate(bound[part : part + 2] for bound in bounds)
                    ]
                    or [np.zeros(0, kind)]
                )
                for name, kind in _RUN_FILES.items()
            )
            order = np.argsort(terms, kind="stable")
            yield terms[order], texts[order], counts[order]

    def _bounds(self, number: int, parts: int) -> list[int]:
        """Return where each part of the ids' range begins in a run, and the run's end."""
        terms = mapped(self._path(f"{number}-terms"), np.dtype(np.uint64))
        inner = (int(np.searchsorted(terms, np.uint64(part * 2**64 // parts))) for part in range(1, parts))
        return [0, *inner, len(terms)]


class Postings:
    """The weights of all terms in all texts, memory-mapped.

    Args:
        folder, name: those of the `PostingsWriter`.
        count: number of texts.
    """

    def __init__(self, folder: Path, name: str, count: int) -> None:
        columns = {column: mapped(folder / f"{name}-{column}", kind) for column, kind in _FILES.items()}
        self._terms, self._starts = columns["terms"], columns["starts"]
        self._texts, self._weights = columns["texts"], columns["weights"]
        self._count = count

    def scores(self, terms: Iterable[int]) -> Floats:
        """Return the score of every text, (texts,), for the distinct terms of a query."""
        scores = np.zeros(self._count, np.float32)
        wanted = np.unique(np.fromiter(terms, np.uint64))
        for place, term in zip(np.searchsorted(self._terms, wanted), wanted, strict=True):
            if place < len(self._terms) and self._terms[place] == term:
                # A term has one posting a text, so no index occurs twice.
                found = slice(int(self._starts[place]), int(self._starts[place + 1]))
                scores[self._texts[found]] += self._weights[found]
        return scores


def mapped(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return a file as an array on disk; an empty file cannot be mapped."""
    return np.memmap(path, kind, "r") if path.stat().st_size else np.zeros(0, kind)
