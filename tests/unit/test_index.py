"""The index of chunks: what it finds, how it is reused, and that it is whole or not there."""

import math
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.documents.bm25 import K1, B, Bm25Settings, Postings, PostingsWriter
from rlaif.documents.document import Chunk
from rlaif.documents.index import Index, IndexSettings
from rlaif.errors import UserError

CHUNK_ALONE = IndexSettings(name_weight=0, page_weight=0)


def chunk(number: int, text: str, document: str = "ACME_2022_10K", page: int | None = None) -> Chunk:
    return Chunk(f"{document}-{number}", document, document, page or number, 0, text)


def texts(index: Index, query: str, k: int = 5, document: str | None = None) -> list[str]:
    return [hit.chunk.text for hit in index.search(query, k, document)]


@given(
    st.lists(st.lists(st.integers(0, 12), max_size=20), min_size=1, max_size=12),
    st.lists(st.integers(0, 14), max_size=6),
    st.integers(1, 8),
)
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_the_formula_whatever_is_held(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], query: list[int], held: int
) -> None:
    folder = tmp_path_factory.mktemp("postings")
    # Ids spread over the whole range, as hashes do.
    documents = [[term * (2**64 // 13) for term in document] for document in documents]
    query = [term * (2**64 // 13) % 2**64 for term in query]
    writer = PostingsWriter(folder, "x", held)
    for document in documents:
        writer.add(Counter(document))
    writer.finish(Bm25Settings())
    assert {path.name for path in folder.iterdir()} == {"x-terms", "x-starts", "x-texts", "x-weights"}
    average = sum(map(len, documents)) / len(documents) or 1
    for document, score in zip(documents, Postings(folder, "x", len(documents)).scores(query), strict=True):
        expected = 0.0
        for term in set(query):
            tf, df = document.count(term), sum(term in other for other in documents)
            idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
            expected += idf * tf * (K1 + 1) / (tf + K1 * (1 - B + B * len(document) / average))
        assert score == pytest.approx(expected, rel=1e-5)


def test_hits_are_whole_chunks_best_first(tmp_path: Path) -> None:
    chunks = [chunk(1, "Net sales rose."), chunk(2, "Net sales of 1,577 million."), chunk(3, "Legal matters.")]
    index = Index.build(tmp_path, chunks, key="k", settings=CHUNK_ALONE)
    hits = index.search("net sales 1577", 5)
    assert [hit.chunk for hit in hits] == [chunks[1], chunks[0]]
    assert [hit.rank for hit in hits] == [1, 2]
    assert hits[0].score > hits[1].score > 0
    assert len(index) == 3
    assert list(index.chunks()) == chunks


def test_a_document_restricts_and_its_name_is_found_with_every_chunk(tmp_path: Path) -> None:
    chunks = [chunk(1, "Net sales.", "BESTBUY_2022_10K"), chunk(1, "Net sales.", "AMCOR_2022_10K")]
    index = Index.build(tmp_path, chunks, key="k")
    assert index.documents == ["BESTBUY_2022_10K", "AMCOR_2022_10K"]
    assert [hit.chunk.document for hit in index.search("Amcor net sales", 2)] == ["AMCOR_2022_10K", "BESTBUY_2022_10K"]
    assert [hit.chunk.document for hit in index.search("sales of Best Buy", 1)] == ["BESTBUY_2022_10K"]
    assert [hit.chunk.document for hit in index.search("Amcor sales", 5, "BESTBUY_2022_10K")] == ["BESTBUY_2022_10K"]
    with pytest.raises(UserError, match="OTHER: no such document among the 2"):
        index.search("sales", 1, "OTHER")


def test_the_page_of_a_chunk_counts(tmp_path: Path) -> None:
    chunks = [
        chunk(1, "Goodwill.", page=1),
        chunk(2, "Impairment.", page=1),
        chunk(3, "Goodwill.", page=2),
        chunk(4, "Dividends.", page=2),
    ]
    index = Index.build(tmp_path, chunks, key="k", settings=IndexSettings(page_weight=0.5))
    assert [hit.chunk.page for hit in index.search("goodwill dividends", 4)] == [2, 2, 1]
    assert index.search("goodwill dividends", 4)[0].chunk.text == "Dividends."


def test_an_index_is_reused_and_not_read_again(tmp_path: Path) -> None:
    def unread() -> Iterator[Chunk]:
        raise AssertionError
        yield

    built = Index.build(tmp_path, [chunk(1, "Net sales.")], key="k")
    again = Index.build(tmp_path, unread(), key="k")
    assert again.folder == built.folder
    assert texts(again, "sales") == ["Net sales."]
    other = Index.build(tmp_path, [chunk(1, "Other sales.")], key="other")
    assert other.folder != built.folder
    assert Index.build(tmp_path, [], key="k", settings=CHUNK_ALONE).folder != built.folder
    assert texts(Index.open(built.folder), "sales") == ["Net sales."]
    assert texts(pickle.loads(pickle.dumps(built)), "sales") == ["Net sales."]
    with pytest.raises(UserError, match="no index"):
        Index.open(tmp_path / "nothing")


def test_a_build_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[Chunk]:
        yield chunk(1, "Net sales.")
        raise UserError("broken.pdf: cut")

    with pytest.raises(UserError, match="broken"):
        Index.build(tmp_path, failing(), key="k")
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_chunk_of_a_page_is_one(tmp_path: Path) -> None:
    same = [chunk(1, "Net sales."), chunk(1, "Net sales."), chunk(2, "Assets.")]
    assert len(Index.build(tmp_path, same, key="k")) == 2


@pytest.mark.parametrize("chunks", [[], [chunk(1, "")], [chunk(1, "...", document="-")]])
def test_an_index_without_terms_finds_nothing(tmp_path: Path, chunks: list[Chunk]) -> None:
    index = Index.build(tmp_path, chunks, key="k")
    assert len(index) == len(chunks)
    assert index.search("net sales", 5) == []
    assert index.search("", 5) == []


@given(st.lists(st.text(), max_size=8), st.text())
@settings(max_examples=40, deadline=None)
def test_any_text_is_indexed_and_searched(
    tmp_path_factory: pytest.TempPathFactory, contents: list[str], query: str
) -> None:
    chunks = [chunk(number, text) for number, text in enumerate(contents, start=1)]
    index = Index.build(tmp_path_factory.mktemp("index"), chunks, key="k")
    assert list(index.chunks()) == chunks
    assert set(texts(index, query)) <= set(contents)


def test_ties_keep_the_order_of_the_chunks(tmp_path: Path) -> None:
    index = Index.build(tmp_path, [chunk(number, "Net sales.") for number in range(1, 50)], key="k")
    assert [hit.chunk.page for hit in index.search("sales", 3)] == [1, 2, 3]


def test_many_runs_give_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    words = [f"word{number}" for number in range(300)]
    chunks = [chunk(number, " ".join(draw.choices(words, k=30)), page=1 + number // 3) for number in range(200)]
    one = Index.build(tmp_path / "one", chunks, key="k")
    monkeypatch.setattr("rlaif.documents.bm25.HELD", 100)
    many = Index.build(tmp_path / "many", chunks, key="k")
    for _ in range(20):
        query = " ".join(draw.choices(words, k=5))
        np.testing.assert_allclose(one.scores(query), many.scores(query), rtol=1e-6)
