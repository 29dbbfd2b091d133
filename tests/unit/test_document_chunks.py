"""Chunks of documents: nothing is lost, tables keep their heads, ids are of the content."""

from dataclasses import replace
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Document, Page, Table, TableRow, Text

TABLE = Table(
    "Balance sheets",
    "(in millions)",
    ("2023", "2022"),
    (
        TableRow("Current assets:", ("", "")),
        *(TableRow(f"Asset {number}", (str(number), f"({number})")) for number in range(30)),
    ),
    ("(1) Restated.",),
)


def document(*pages: Page) -> Document:
    return Document("ACME_2023_10K", "0" * 64, "1", pages)


def test_pieces_of_a_table_repeat_title_unit_section_and_a_row() -> None:
    chunks = chunks_of(document(Page(1, (TABLE,)), Page(2, (Text("End."),))))
    pieces = [chunk.text.split("\n") for chunk in chunks if chunk.page == 1]
    assert all(
        piece[:4] == ["ACME_2023_10K, page 1", "Balance sheets", "(in millions)", "Current assets:"] for piece in pieces
    )
    assert all(len(piece) <= 3 + 14 + 1 for piece in pieces)
    for before, after in pairwise(pieces):
        assert after[4] == before[-1]
    assert pieces[-1][-1] == "(1) Restated."
    assert "Asset 7 | 2023: 7 | 2022: (7)" in pieces[0]


words = st.text("abc .\n;", min_size=1, max_size=60).filter(str.strip)
texts = st.builds(Text, words, st.booleans())
tables = st.integers(1, 3).flatmap(
    lambda width: st.builds(
        Table,
        words,
        st.just("(in millions)"),
        st.tuples(*[words] * width),
        st.lists(
            st.builds(TableRow, words, st.tuples(*[st.text("123,", max_size=4)] * width)), min_size=1, max_size=20
        ).map(tuple),
    )
)
pages = st.lists(st.lists(texts | tables, max_size=6), max_size=3)


@settings(max_examples=30)
@given(pages)
def test_no_word_is_lost_and_ids_are_of_the_content(blocks: list[list[Text | Table]]) -> None:
    made = document(*(Page(number, tuple(page)) for number, page in enumerate(blocks, start=1)))
    chunks = chunks_of(made)
    assert chunks == chunks_of(made)
    assert len({chunk.id for chunk in chunks}) == len(chunks)
    assert all(chunk.text.startswith("ACME_2023_10K") for chunk in chunks)
    for page in made.pages:
        shown = " ".join(chunk.text for chunk in chunks if chunk.page == page.number).split()
        for block in page.blocks:
            parts = [block.text] if isinstance(block, Text) else [row.label for row in block.rows]
            assert all(word in shown for part in parts for word in part.split())
    other = {chunk.id for chunk in chunks_of(replace(made, sha256="1" * 64))}
    assert other.isdisjoint(chunk.id for chunk in chunks)
    assert [chunk.place for chunk in chunks if chunk.page == 1] == list(range(sum(c.page == 1 for c in chunks)))


def test_the_ids_of_a_known_document() -> None:
    """These ids are stored in runs: a change of them needs a new version of the reader."""
    chunks = chunks_of(document(Page(1, (Text("Results", heading=True), Text("Sales rose 5%."), TABLE))))
    assert [chunk.id for chunk in chunks[:2]] == ["e2dcd06cfe5a7c1c", "ae3634fd55b68002"]
