"""A run that waits for people: it is killed while it waits, goes on, and learns from what they say."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e import command

_TEXTS = [("What were sales?", "5 million.", "I cannot say."), ("What was profit?", "2 million.", "Perhaps.")]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []


def waits(run: Path) -> int:
    """How often the round has begun to make its pairs, which begins with waiting for people."""
    return sum(each["event"] == "stage_started" and each["stage"] == "pairs" for each in lines(run / "events.jsonl"))


def ask(run: Path, who: str, keys: str) -> str:
    words = [sys.executable, "-m", "rlaif", "ask", str(run), "--who", who]
    done = subprocess.run(words, input=keys, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.timeout(1500)
def test_a_run_waits_for_people_and_learns_from_them(tmp_path: Path) -> None:
    file = tmp_path / "preferences.jsonl"
    chats = [
        {"prompt": [{"role": "user", "content": asked}], "chosen": [{"role": "assistant", "content": better}],
         "rejected": [{"role": "assistant", "content": worse}]}
        for asked, better, worse in _TEXTS
    ]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in chats), encoding="utf-8")
    runs = ["--runs", str(tmp_path), "--set", "rounds.count=1"]
    feedback = ["--set", "feedback.people={share: 0.3, wait: 1h}", "--set", f"feedback.preferences={file}"]
    arguments = ["run", str(command.RECIPE), *runs, *feedback]
    run = tmp_path / "small"
    folder = run / "round-000"

    process = command.start(*arguments)
    assert command.wait_until((folder / "people.json").is_file, process, 400)
    queue = lines(folder / "queue.jsonl")
    assert len(queue) >= 5
    assert json.loads((folder / "people.json").read_text(encoding="utf-8"))["ended"] is None
    ask(run, "ann", "1")
    process.send_signal(signal.SIGKILL)
    process.wait()

    process = command.start(*arguments)
    assert command.wait_until(lambda: waits(run) == 2, process)
    # Another tool writes a line that is wrong, and people answer what is left.
    with open(folder / "labels.jsonl", "a", encoding="utf-8") as labels:
        labels.write('{"item": "none", "label": "first", "who": "tool"}\n')
    shown = ask(run, "ann", "2 x 0 " + "1 2 " * len(queue))
    assert f"{len(queue)} of {len(queue)} comparisons answered by ann" in shown
    output, errors = process.communicate(timeout=600)
    output = " ".join(output.split())
    assert process.returncode == 0, output + errors
    assert lines(folder / "queue.jsonl") == queue
    assert f"{len(queue) - 1} comparisons wait for people, until" in output
    assert f"people decided {len(queue)} of {len(queue)} comparisons" in output
    assert (
        "labels.jsonl:2: item: expected the id of an item of queue.jsonl (got 'none'); the line does not count"
        in output
    )
    said = {label["item"]: label["label"] for label in lines(folder / "labels.jsonl") if label["who"] == "ann"}
    rows = pq.read_table(folder / "pairs.parquet").to_pylist()
    pairs = {(row["prompt_id"], row["chosen_candidate"], row["rejected_candidate"]): row for row in rows}
    for item in queue:
        first, second = (item["prompt_id"], item["first"], item["second"]), (
            item["prompt_id"], item["second"], item["first"]
        )  # fmt: skip
        wanted = {"first": first, "second": second}.get(said[item["id"]])
        assert {side for side in (first, second) if side in pairs} == ({wanted} if wanted else set())
        if wanted:
            assert (pairs[wanted]["source"], pairs[wanted]["labelled_by"]) == ("human", ["ann"])
    own = [row for row in rows if row["policy"] is None]
    assert len(own) == 1  # six of fourteen questions, so one of two preferences
    assert (own[0]["source"], own[0]["labelled_by"]) == ("human", None)
    record = json.loads((folder / "people.json").read_text(encoding="utf-8"))
    assert (record["answered"], record["labels"]) == (len(queue), {"ann": len(queue)})
    training = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    assert (training["reference_logps"], training["pairs"]) == ("both", len(rows))
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["state"] == "finished"
    done = command.run("trace", str(run), own[0]["pair_id"])
    assert done.returncode == 0, done.stderr
    assert "human" in done.stdout
    late = subprocess.run(
        [sys.executable, "-m", "rlaif", "ask", str(run)], input="1", capture_output=True, text=True, check=False
    )
    assert late.returncode == 2
    assert "its pairs are made" in late.stderr
