"""Preferences from other sources: each form that TRL knows, and each fault with its line."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from trl.data_utils import extract_prompt

from rlaif.data.candidates import read_preferences
from rlaif.errors import UserError

PLAIN = {"prompt": "What was revenue?", "chosen": " $4.2 million.", "rejected": " Unknown."}
CHAT = {
    "prompt": [{"role": "user", "content": "What was revenue?"}],
    "chosen": [{"role": "assistant", "content": "$4.2 million"}],
    "rejected": [{"role": "assistant", "content": "Unknown"}],
}


def write(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize("row", [PLAIN, CHAT], ids=["text", "chat"])
def test_reads_texts_and_chats(tmp_path: Path, row: dict[str, Any]) -> None:
    (one,) = read_preferences(write(tmp_path / "p.jsonl", row))
    assert (one.prompt, one.chosen, one.rejected) == (row["prompt"], row["chosen"], row["rejected"])
    assert one.id.endswith("p.jsonl:1")
    assert one.source == "ai"


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": "Revenue was $4.2 million.", "rejected": "Revenue was nothing."},
        {"chosen": CHAT["prompt"] + CHAT["chosen"], "rejected": CHAT["prompt"] + CHAT["rejected"]},
    ],
    ids=["text", "chat"],
)
def test_finds_the_prompt_that_both_answers_begin_with_as_trl_does(tmp_path: Path, row: dict[str, Any]) -> None:
    (one,) = read_preferences(write(tmp_path / "p.jsonl", row))
    assert {"prompt": one.prompt, "chosen": one.chosen, "rejected": one.rejected} == extract_prompt(row)


def test_reads_parquet_with_margin_and_source(tmp_path: Path) -> None:
    rows = [
        {**CHAT, "pair_id": "a", "margin": 0.5, "source": "human"},
        {**CHAT, "pair_id": "b", "margin": None, "source": "ai"},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    first, second = read_preferences(str(tmp_path / "p.parquet"))
    assert (first.id, first.margin, first.source) == ("a", 0.5, "human")
    assert (second.id, second.margin, second.source) == ("b", None, "ai")


FAULTS = {
    r"p.jsonl:2: no column 'rejected'": {"prompt": "a", "chosen": "b"},
    r"p.jsonl:2: chosen: expected a text, or a list of messages": {**PLAIN, "chosen": 3},
    r"p.jsonl:2: expected prompt, chosen and rejected to be all texts": {**PLAIN, "prompt": CHAT["prompt"]},
    r"p.jsonl:2: prompt: empty": {"chosen": "Yes", "rejected": "No"},
    r"p.jsonl:2: margin: expected a number of at least 0 .got 'wide'.": {**PLAIN, "margin": "wide"},
    r"p.jsonl:2: source: expected ai or human .got 'cat'.": {**PLAIN, "source": "cat"},
    r"p.jsonl:2: id: 'x' is also that of .*p.jsonl:1": {**PLAIN, "id": "x"},
}


@pytest.mark.parametrize("message", FAULTS)
def test_a_fault_is_named_with_its_line(tmp_path: Path, message: str) -> None:
    path = write(tmp_path / "p.jsonl", {**PLAIN, "id": "x"}, FAULTS[message])
    with pytest.raises(UserError, match=message):
        read_preferences(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no preferences; expected at least one"):
        read_preferences(write(tmp_path / "p.jsonl"))
