"""The vectors of an index's chunks, kept in its folder: in parts, each written whole, so that a stop costs one part.

Invariant: the vector of chunk n is the n-th, and all are of one encoder.
"""

from pathlib import Path

import numpy as np

from rlaif.documents.bm25 import Floats
from rlaif.documents.index import Index
from rlaif.io.files import whole_file
from rlaif.progress import Progress, Silent
from rlaif.retrieval.encoder import Encoder

PART = 1024
"""Chunks of a part."""
_AT_ONCE = 256


class Vectors:
    """The vectors of all chunks of an index, memory-mapped; see `build`."""

    def __init__(self, index: Index, encoder: Encoder) -> None:
        self._encoder = encoder
        self._parts = [np.load(path, mmap_mode="r") for path in _paths(index, encoder)]

    @classmethod
    def build(cls, index: Index, encoder: Encoder, progress: Progress | None = None) -> "Vectors":
        """Return the vectors of an index's chunks, encoding those that are not there yet."""
        progress = progress or Silent()
        paths = _paths(index, encoder)
        missing = [number for number, path in enumerate(paths) if not path.is_file()]
        cut_before, encoded = encoder.cut, 0
        if missing:
            there = sum(len(_part(index, number)) for number in range(len(paths)) if number not in missing)
            progress.stage("encode chunks", len(index), there)
        for part in missing:
            numbers = _part(index, part)
            vectors = []
            for start in range(0, len(numbers), _AT_ONCE):
                texts = [index.chunk(number).text for number in numbers[start : start + _AT_ONCE]]
                vectors.append(encoder.texts(texts))
                encoded += len(texts)
                progress.advance(len(texts))
            with whole_file(str(paths[part])) as temporary, open(temporary, "wb") as file:
                np.save(file, np.concatenate(vectors))
        if cut := encoder.cut - cut_before:
            progress.say(
                f"{cut:,} of {encoded:,} chunks are longer than the {encoder.longest} tokens that the encoder reads; "
                "it does not see their ends"
            )
        return cls(index, encoder)

    def scores(self, query: str) -> Floats:
        """Return the dot product of a query's vector with each chunk's, (chunks,)."""
        vector = self._encoder.queries([query])[0]
        return np.concatenate([np.zeros(0, np.float32), *(part @ vector for part in self._parts)])


def _part(index: Index, part: int) -> range:
    """Return the numbers of a part's chunks."""
    return range(part * PART, min((part + 1) * PART, len(index)))


def _paths(index: Index, encoder: Encoder) -> list[Path]:
    parts = -(-len(index) // PART)
    return [index.folder / f"vectors-{encoder.identity}-{part:05d}.npy" for part in range(parts)]
