"""Answers as people would mark them, by the kind of what makes them hard: 1,199 of ours, and the shared ones."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rlaif.grading.score import score_answer
from tests.conftest import SHARED

OURS = Path(__file__).parent / "data" / "graded_answers.jsonl"
SHARED_CASES = SHARED / "cases" / "reference.jsonl"
KINDS = (
    "yes-no", "sign-words", "minor-units", "scale-words", "number-form", "number-words", "several-figures", "per-what",
    "thinking", "names",
)  # fmt: skip


def cases(path: Path, kind: str) -> Iterator[Mapping[str, Any]]:
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return (row for row in rows if row["kind"] == kind)


def marked_otherwise(row: Mapping[str, Any]) -> str | None:
    """Return what the score says of an answer that people mark otherwise."""
    found = score_answer(row["answer"], row["reference"], question=row.get("question", ""))
    if (found.outcome == "right") is row["right"]:
        return None
    return f"{row['answer']!r} for {row['reference']!r} ({row.get('question', '')}): {found.outcome}, {found.reason}"


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_marked_as_people_mark_them(kind: str) -> None:
    rows = list(cases(OURS, kind))
    assert len(rows) > 70
    assert [wrong for row in rows if (wrong := marked_otherwise(row))] == []


@pytest.mark.skipif(not SHARED_CASES.is_file(), reason=f"no shared cases at {SHARED_CASES}")
@pytest.mark.parametrize("kind", KINDS)
def test_shared_answers_are_marked_as_people_mark_them(kind: str) -> None:
    rows = list(cases(SHARED_CASES, kind))
    assert rows
    assert [wrong for row in rows if (wrong := marked_otherwise(row))] == []
