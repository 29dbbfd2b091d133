"""`rlaif train` with two workers that share one model, and its policy in an engine."""

import json
from pathlib import Path

import pytest

from rlaif.models.resolve import weights_id
from tests.e2e import command
from tests.e2e.test_train import row


@pytest.mark.slow
def test_two_workers_train_one_model_that_an_engine_loads(tmp_path: Path) -> None:
    pairs, out, answers = tmp_path / "pairs.jsonl", tmp_path / "policy", tmp_path / "answers.csv"
    pairs.write_text("".join(json.dumps(row(number)) + "\n" for number in range(3)), encoding="utf-8")
    done = command.run(
        "train", str(pairs), "--policy", "builtin:smollm2-135m", "-o", str(out), "--json",
        "--set", "cluster.device=cpu", "--set", "cluster.training.workers=2", "--set", "cluster.training.strategy=fsdp",
        "--set", "training.lora=null", "--set", "training.checkpoint_steps=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert (printed["pairs"], printed["reference"]) == (3, "trainer")
    assert printed["policy_id"] == weights_id(str(out))

    questions = tmp_path / "questions.jsonl"
    questions.write_text(json.dumps({"id": "q", "question": "What is the capital of France?"}) + "\n", encoding="utf-8")
    asked = command.run(
        "predict", "--policy", str(out), "--questions", str(questions), "-o", str(answers),
        "--set", "cluster.device=cpu", "--set", "evaluation.max_tokens=8",
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    assert "Paris" in answers.read_text(encoding="utf-8")
