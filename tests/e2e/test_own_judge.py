"""A run whose judge is a panel of a function of the user's and a model."""

import json
from pathlib import Path

import pyarrow.parquet as pq

from tests.e2e import command

CODE = """
import os

def judge(question, candidates, gold_answer, context):
    print("loud")
    if len(question) % 3 == 0:
        raise ValueError("not this one")
    return [float(len(candidate)) if candidate.strip() else None for candidate in candidates]
"""


def test_a_run_learns_from_a_function_and_records_what_failed(tmp_path: Path) -> None:
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "mine.py").write_text(CODE, encoding="utf-8")
    (tmp_path / "judges" / "mine.yaml").write_text("kind: python\nfile: mine.py\n", encoding="utf-8")
    (tmp_path / "judges" / "both.yaml").write_text(
        "kind: panel\nmode: first-to-decide\njudges: [mine, finance-grounded]\n", encoding="utf-8"
    )
    done = command.run(
        "run", str(command.RECIPE), "--runs", "runs", "--set", "judge.name=both", "--set", "rounds.count=1",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "loud" not in done.stdout + done.stderr
    run = tmp_path / "runs" / "small"
    recorded = json.loads((run / "run.json").read_text(encoding="utf-8"))
    (mine,) = [member for member in recorded["judge"]["members"] if member["name"] == "mine"]
    assert (mine["kind"], mine["file"]) == ("python", "mine.py")
    verdicts = pq.read_table(run / "round-000" / "verdicts").to_pylist()
    own = [verdict for verdict in verdicts if verdict["judge_sha"] == mine["sha"]]
    assert {verdict["status"] for verdict in own} == {"ok", "error"}
    assert all(verdict["score"] is None for verdict in own if verdict["status"] == "error")
    assert {verdict["text"].split(" (")[0] for verdict in own if verdict["status"] == "error"} == {
        "ValueError: not this one"
    }
    failed = {verdict["prompt_id"] for verdict in own if verdict["status"] == "error"}
    pairs = pq.read_table(run / "round-000" / "pairs.parquet").to_pylist()
    assert [pair for pair in pairs if pair["judge"] == "mine"]
    assert not [pair for pair in pairs if pair["judge"] == "mine" and pair["prompt_id"] in failed]
