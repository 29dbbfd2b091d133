"""A run of phases: demonstrations in increments, preferences, policy gradients, by one loop and in one store."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e import command


@pytest.fixture
def run(finished_phases: Path) -> Path:
    """The folder of an undisturbed run."""
    return finished_phases


def manifest(run: Path, number: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / f"round-{number:03d}" / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_each_round_has_the_stages_of_its_objective(run: Path) -> None:
    learned = ["gather", "train", "evaluate", "promote"]
    sampled = ["sample", "judge", "pairs", "train", "evaluate", "promote"]
    rewarded = ["sample", "judge", "gather", "train", "evaluate", "promote"]
    expected = [("sft", learned), ("sft", learned), ("dpo", sampled), ("grpo", rewarded)]
    found = [manifest(run, number) for number in range(4)]
    assert [(each["objective"], list(each["stages"])) for each in found] == expected
    assert manifest(run, 2)["phase"] == "preferences"
    assert not (run / "round-000" / "candidates").exists()


def test_a_round_learns_demonstrations_that_no_other_has(run: Path) -> None:
    rows = [pq.read_table(run / f"round-{number:03d}" / "demonstrations.parquet").to_pylist() for number in (0, 1)]
    assert [len(each) for each in rows] == [6, 6]
    assert not {row["id"] for row in rows[0]} & {row["id"] for row in rows[1]}
    for row in rows[0]:
        assert row["answer"][0]["role"] == "assistant"
        assert row["ends"] == [len(row["token_ids"])]


def test_each_phase_starts_from_the_policy_of_the_one_before(run: Path) -> None:
    policies = [json.loads((run / f"round-{number:03d}" / "policy.json").read_text()) for number in range(4)]
    assert [policy["parent"] for policy in policies[1:]] == [policy["id"] for policy in policies[:3]]
    shard = next((run / "round-002" / "candidates").glob("*.parquet"))
    assert set(pq.read_table(shard)["policy"].to_pylist()) == {policies[1]["id"]}


def test_the_test_questions_are_answered_after_each_round(run: Path) -> None:
    for number in range(5):
        text = (run / f"submission-{number:02d}.csv").read_text(encoding="utf-8")
        assert [len(row) for row in csv.reader(text.splitlines())] == [3] * 4
    curve = list(csv.DictReader((run / "learning-curve.csv").read_text(encoding="utf-8").splitlines()))
    assert [row["learned_in_all"] for row in curve[:3]] == ["0", "6", "12"]
    assert [row["phase"] for row in curve] == ["initial", "sft", "sft", "preferences", "grpo"]
    assert all(row["value"] for row in curve)


def test_what_each_policy_learned_from_is_shown(run: Path) -> None:
    shown = command.run("report", str(run))
    learned = "Learned from: sft 12 demonstrations (policies 1 to 2), preferences 10 pairs (policy 3)"
    assert learned in " ".join(shown.stdout.split())
    assert "6 demonstrations" in (run / "report.html").read_text(encoding="utf-8")


def test_a_finished_run_goes_on_with_another_phase(run: Path, tmp_path: Path) -> None:
    more, copied = tmp_path / "phases.yaml", tmp_path / "runs" / "phases"
    shutil.copytree(run, copied)
    best = "{objective: sft, questions: 4, demonstrations: {type: best_of_n, min_reward: 0.0}}"
    text = command.PHASES.read_text(encoding="utf-8")
    more.write_text(text.replace("\nrounds:", f"\n  - {best}\nrounds:"), encoding="utf-8")
    done = command.run("run", str(more), "--runs", str(copied.parent))
    assert done.returncode == 0, done.stdout + done.stderr
    assert (copied / "round-003" / "policy.json").read_bytes() == (run / "round-003" / "policy.json").read_bytes()
    assert list(manifest(copied, 4)["stages"]) == ["sample", "judge", "gather", "train", "evaluate", "promote"]
    rows = pq.read_table(copied / "round-004" / "demonstrations.parquet").to_pylist()
    candidates = {
        (row["prompt_id"], row["candidate"]): row
        for shard in (copied / "round-004" / "candidates").glob("*.parquet")
        for row in pq.read_table(shard).to_pylist()
    }
    assert rows
    for row in rows:
        sampled = candidates[row["prompt_id"], row["candidate"]]
        assert row["token_ids"] == sampled["prompt_token_ids"] + sampled["token_ids"]
        assert row["token_ids"][row["starts"][0] :] == sampled["token_ids"]
    fewer = command.run("run", str(command.PHASES), "--runs", str(copied.parent))
    assert fewer.returncode == 2
    assert "What differs: phases.3" in fewer.stderr


def test_a_demonstration_is_traced_to_the_policy_that_learned_it(run: Path) -> None:
    row = pq.read_table(run / "round-001" / "demonstrations.parquet").to_pylist()[0]
    shown = json.loads(command.run("trace", str(run), row["id"], "--json").stdout)
    policy = json.loads((run / "round-001" / "policy.json").read_text(encoding="utf-8"))
    assert (shown["kind"], shown["answer"]) == ("demonstration", row["answer"])
    assert shown["training"]["policy"] == policy["id"]
    assert row["answer"][0]["content"] in command.run("trace", str(run), row["id"]).stdout


def test_a_rollout_is_traced_and_the_state_of_the_current_policy_kept(run: Path) -> None:
    row = pq.read_table(run / "round-003" / "rollouts.parquet").to_pylist()[0]
    shown = json.loads(command.run("trace", str(run), row["rollout_id"], "--json").stdout)
    assert (shown["kind"], shown["answer"]) == ("rollout", row["answer"])
    assert shown["verdicts"]
    assert (run / "round-003" / "state" / "complete").read_bytes() == b"whole"


def test_a_plan_counts_the_rounds_of_each_objective() -> None:
    plan = json.loads(command.run("plan", str(command.PHASES), "--json").stdout)
    sampled = [entry["tokens"]["sample"]["requests"] for entry in plan["rounds"]]
    assert sampled == [0, 0, 24, 32]
    assert all(entry["tokens"]["train"]["computed"] > 0 for entry in plan["rounds"])
