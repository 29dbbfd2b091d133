"""From PDFs to cited predictions: the recipe of filings runs, is killed and resumed, and cites its documents."""

import csv
import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e import command
from tests.filing_questions import FILINGS, financebench_rows, table_rows, write_rows

REFUSAL = "The documents do not say."
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILINGS.is_dir(), reason=f"no filings at {FILINGS}"),
]


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.timeout(900)
def test_filings_are_answered_with_citations_through_a_kill(tmp_path: Path) -> None:
    made = table_rows(18)
    sets = {"train": made[:12], "heldout": made[12:], "test": financebench_rows()[:3]}
    for name, questions in sets.items():
        write_rows(tmp_path / f"{name}.jsonl", questions)
    settings = {
        **{f"questions.{name}.path": tmp_path / f"{name}.jsonl" for name in sets},
        "questions.documents.folder": FILINGS, "questions.documents.max_tokens": 500,
        "questions.documents.withheld": 0.4, "questions.documents.withheld_heldout": 0.4,
        "policy.max_length": 900, "sampling.max_tokens": 16, "phases.0.rounds": 1, "phases.0.training.epochs": 1,
        "phases.1.sampling": "{candidates: 2, temperature: 1.0, max_tokens: 16}",
    }  # fmt: skip
    words = ["run", "filings", "--runs", str(tmp_path)]
    words += [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    run = tmp_path / "filings"

    process = command.start(*words)
    assert command.wait_until(lambda: (run / "round-000" / "demonstrations.parquet").exists(), process, 300)
    process.send_signal(signal.SIGKILL)
    process.wait()
    contexts = (run / "prompts" / "contexts.parquet").read_bytes()
    done = command.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "resuming" in done.stdout
    assert (run / "prompts" / "contexts.parquet").read_bytes() == contexts

    record = json.loads((run / "prompts" / "documents.json").read_text(encoding="utf-8"))
    chunks = {row["chunk"]: row for row in pq.read_table(run / "prompts" / "contexts.parquet").to_pylist()}
    names = {path.stem for path in FILINGS.glob("*.pdf")}
    assert set(record["documents"]) <= names
    assert all(row["text"].startswith(row["document"]) for row in chunks.values())
    # Train: what is learned names its chunks, and a refusal where the evidence was withheld.
    learned = pq.read_table(run / "round-000" / "demonstrations.parquet").to_pylist()
    assert learned
    withheld = set(record["sets"]["train"]["withheld"])
    assert withheld
    for row in learned:
        assert set(row["chunks"]) <= set(chunks)
        (answer,) = (message["content"] for message in row["answer"])
        assert (answer == REFUSAL) is (row["id"] in withheld)
    sampled = pq.read_table(run / "round-001" / "candidates").to_pylist()
    judged = pq.read_table(run / "round-001" / "verdicts").to_pylist()
    for row in (*sampled, *judged):
        assert set(row["chunks"]) <= set(chunks)
    # Each submission cites a chunk of the question's document, whose text holds the passage.
    for number in range(3):
        answers = rows(run / f"submission-{number:02d}.csv")
        assert list(answers[0]) == ["id", "answer", "passage", "chunk", "document", "page"]
        assert [row["id"] for row in answers] == [row["id"] for row in sets["test"]]
        cited = [row for row in answers if row["chunk"]]
        for row in cited:
            source = chunks[row["chunk"]]
            assert (row["document"], int(row["page"])) == (source["document"], source["page"])
            assert row["passage"] in source["text"]
    measured = json.loads((run / "initial" / "evaluation.json").read_text(encoding="utf-8"))["metrics"]
    assert measured["refused"]["n"] + measured["refused_withheld"]["n"] == len(sets["heldout"])

    traced = command.run("trace", "filings", learned[0]["id"], "--runs", str(tmp_path), "--json")
    assert [each["id"] for each in json.loads(traced.stdout)["chunks"]] == learned[0]["chunks"]
