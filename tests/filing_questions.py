"""Questions on two real filings, which are not in the repository: FinanceBench's, and others made from tables."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rlaif.documents.document import Table
from rlaif.documents.reading import read_document

SHARED = Path(__file__).parents[2] / "shared" / "data"
FILINGS = SHARED / "filings"
EARNINGS = FILINGS / "ULTABEAUTY_2023Q4_EARNINGS.pdf"


def financebench_rows() -> list[dict[str, Any]]:
    """Return FinanceBench's questions on the filings, with their evidence as a passage of the document."""
    text = (SHARED / "financebench" / "questions.jsonl").read_text(encoding="utf-8")
    names = {path.stem for path in FILINGS.glob("*.pdf")}
    return [
        {
            "id": row["id"], "question": row["question"], "document": row["doc_name"], "gold_answer": row["answer"],
            "evidence": row["context"],
        }
        for row in map(json.loads, text.splitlines())
        if row["doc_name"] in names
    ]  # fmt: skip


def table_rows(count: int) -> list[dict[str, Any]]:
    """Return questions on single figures of the earnings' tables, evenly from all that there are."""
    every = list(_cells())
    return [every[index * len(every) // count] for index in range(count)]


def _cells() -> Iterator[dict[str, Any]]:
    document = read_document(EARNINGS)
    for page in document.pages:
        for number, table in enumerate(block for block in page.blocks if isinstance(block, Table)):
            for row_number, row in enumerate(table.rows if table.unit else ()):
                for head, cell in zip(table.heads, row.cells, strict=True):
                    if any(letter.isdigit() for letter in cell):
                        yield {
                            "id": f"{page.number}-{number}-{row_number}-{table.heads.index(head)}",
                            "question": f"What was {row.label} for {head} {table.unit}?",
                            "document": document.name,
                            "gold_answer": cell,
                        }
                        break


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write rows as JSONL."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
