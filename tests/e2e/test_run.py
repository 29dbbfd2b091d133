"""A whole run through the command line, and the commands that read it afterwards."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.e2e import command


def test_a_run_leaves_all_its_files(finished_run: Path) -> None:
    for name in ("recipe.yaml", "run.json", "events.jsonl", "report.html", "initial/evaluation.json"):
        assert (finished_run / name).is_file(), name
    assert json.loads((finished_run / "run.json").read_text(encoding="utf-8"))["state"] == "finished"
    for number in (0, 1):
        directory = finished_run / f"round-{number:03d}"
        assert list((directory / "candidates").glob("part-*.parquet"))
        assert list((directory / "verdicts").glob("part-*.parquet"))
        manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
        assert set(manifest["stages"]) == {"sample", "judge", "pairs", "train", "evaluate", "promote"}


def test_round_two_samples_from_the_policy_of_round_one(finished_run: Path) -> None:
    policy = json.loads((finished_run / "round-000" / "policy.json").read_text(encoding="utf-8"))["id"]
    shard = next((finished_run / "round-001" / "candidates").glob("part-*.parquet"))
    assert set(pq.read_table(shard)["policy"].to_pylist()) == {policy}


def test_the_reference_is_the_engines_and_the_trainer_agrees(finished_run: Path) -> None:
    """Before the first update trainer and engine have the same policy, so the mismatch between them is noise."""
    for number in (0, 1):
        training = json.loads((finished_run / f"round-{number:03d}" / "training.json").read_text(encoding="utf-8"))
        assert training["mismatch"] < 1e-3


def test_pairs_load_into_datasets_and_trl_columns(finished_run: Path) -> None:
    from datasets import load_dataset

    pairs = load_dataset("parquet", data_files=str(finished_run / "round-*/pairs.parquet"), split="train")
    assert {"prompt", "chosen", "rejected"} <= set(pairs.column_names)
    assert pairs[0]["chosen"][0]["role"] == "assistant"
    assert pairs[0]["prompt"][-1]["role"] == "user"


def test_policy_loads_into_transformers(finished_run: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(finished_run / "round-000" / "policy")
    assert model.num_parameters() > 134_000_000


def test_trace_shows_where_a_pair_came_from(finished_run: Path) -> None:
    pair = pq.read_table(finished_run / "round-001" / "pairs.parquet").to_pylist()[0]
    traced = command.run("trace", str(finished_run), pair["pair_id"], "--json")
    assert traced.returncode == 0, traced.stderr
    text = traced.stdout
    json.loads(text)
    policy = json.loads((finished_run / "round-000" / "policy.json").read_text(encoding="utf-8"))["id"]
    for fact in (pair["pair_id"], pair["prompt_id"], policy, pair["judge_sha"]):
        assert fact in text


def test_the_same_command_on_a_finished_run_changes_nothing(finished_run: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in finished_run.rglob("round-*/**/*") if path.is_file()}
    again = command.run("run", str(command.RECIPE), "--runs", str(finished_run.parent))
    assert again.returncode == 0, again.stderr
    assert before == {path: path.stat().st_mtime_ns for path in finished_run.rglob("round-*/**/*") if path.is_file()}


def test_another_recipe_is_refused_with_the_keys_that_differ(finished_run: Path) -> None:
    changed = command.run(
        "run", str(command.RECIPE), "--runs", str(finished_run.parent), "--set", "training.beta=0.3", "--set", "seed=5"
    )
    assert changed.returncode == 2
    assert "training.beta (0.1 -> 0.3)" in changed.stderr
    assert "seed (0 -> 5)" in changed.stderr


def test_runs_and_report(finished_run: Path, tmp_path: Path) -> None:
    listed = command.run("runs", "--runs", str(finished_run.parent))
    assert listed.returncode == 0
    assert "small" in listed.stdout
    written = command.run("report", str(finished_run), "--out", str(tmp_path / "report.html"))
    assert written.returncode == 0, written.stderr
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_predict_answers_a_file_with_the_runs_policy(finished_run: Path, tmp_path: Path) -> None:
    questions = tmp_path / "questions.csv"
    questions.write_text(
        'id,question,context\nq1,What was revenue in 2023?,"Revenue was $4.2 million in 2023. Costs were $3 million."\n'
        f"q2,Too long?,{'word ' * 500}\n",
        encoding="utf-8",
    )
    output = tmp_path / "answers.csv"
    done = command.run("predict", "--run", str(finished_run), "--questions", str(questions), "-o", str(output))
    assert done.returncode == 0, done.stderr
    with output.open(encoding="utf-8") as file:
        answers = list(csv.DictReader(file))
    assert [answer["id"] for answer in answers] == ["q1", "q2"]
    assert answers[0]["answer"]
    assert answers[0]["passage"] == "Revenue was $4.2 million in 2023."
    assert answers[1]["answer"] == ""
    assert "q2" in done.stderr
    assert "exceed the context" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_full_weights_with_two_workers_and_a_judge_on_engines_of_its_own(tmp_path: Path) -> None:
    done = command.run(
        "run", str(command.RECIPE), "--runs", str(tmp_path), "--set", "training.lora=null", "--set", "rounds.count=1",
        "--set", "training.learning_rate=3e-5", "--set", "cluster.training.workers=2", "--set", "rounds.questions=4",
        "--set", "training.reference=initial",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    policy = tmp_path / "small" / "round-000" / "policy"
    assert (policy / "model.safetensors").is_file()
    evaluation = json.loads((tmp_path / "small" / "round-000" / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["metrics"]["kl"] is not None
