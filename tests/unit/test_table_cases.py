"""Rows of a real filing, typed by hand, against the chunks that are made of its PDF."""

import json
from pathlib import Path

import pytest

from rlaif.documents.chunks import chunks_of
from rlaif.documents.document import Chunk
from rlaif.documents.reading import read_document


@pytest.fixture(scope="module")
def rows(shared_data: Path) -> list[dict]:
    return [json.loads(line) for line in (shared_data.parent / "cases" / "tables.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def chunks(shared_data: Path, rows: list[dict]) -> dict[str, list[Chunk]]:
    filings = {row["filing"] for row in rows}
    return {name: chunks_of(read_document(shared_data / "filings" / f"{name}.pdf")) for name in filings}


def _figure(text: str) -> str:
    return text.replace("$", "").replace("%", "").strip()


def _found(line: str, figures: list[dict]) -> tuple[int, int]:
    """Return how many figures a line holds, and how many of them with all their heads, each cell counted once."""
    cells = [cell.rpartition(": ") for cell in line.split(" | ")[1:]]
    held = headed = 0
    used: set[int] = set()
    for figure in figures:
        wanted = _figure(figure["text"])
        places = [place for place, (_, _, cell) in enumerate(cells) if _figure(cell) == wanted and place not in used]
        held += bool(places)
        good = [place for place in places if all(head in cells[place][0] for head in figure["heads"])]
        headed += bool(good)
        used.update(good[:1] or places[:1])
    return held, headed


def test_rows_are_whole_and_figures_have_their_heads(rows: list[dict], chunks: dict[str, list[Chunk]]) -> None:
    whole = headed = figures = 0
    for row in rows:
        lines = [line for chunk in chunks[row["filing"]] for line in chunk.text.split("\n")]
        found = [_found(line, row["figures"]) for line in lines if line.split(" | ")[0] == row["label"]]
        held, with_heads = max(found, default=(0, 0))
        whole += held == len(row["figures"])
        headed += with_heads
        figures += len(row["figures"])
    assert whole == len(rows)
    assert headed >= 0.97 * figures


def test_a_table_in_thousands_says_so_in_each_of_its_chunks(chunks: dict[str, list[Chunk]]) -> None:
    for name in chunks:
        balance = [chunk for chunk in chunks[name] if "Condensed Consolidated Balance Sheets" in chunk.text]
        assert len(balance) > 1
        assert all("(In thousands)" in chunk.text for chunk in balance)
