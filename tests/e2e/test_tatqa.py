"""The shipped recipe on real financial questions, made small enough for a test."""

import json
from pathlib import Path

import pytest

from tests.e2e import command


@pytest.mark.slow
def test_tatqa_recipe_runs_on_the_real_questions(shared_data: Path, tmp_path: Path) -> None:
    done = command.run(
        "run", "recipes/tatqa.yaml", "--runs", str(tmp_path), "--json",
        "--set", f"questions.train.path={shared_data}/tatqa/train.jsonl",
        "--set", f"questions.heldout.path={shared_data}/tatqa/heldout.jsonl",
        "--set", "questions.heldout.limit=4", "--set", "rounds.count=1", "--set", "rounds.questions=4",
        "--set", "rounds.gate.max_drop=1.0", "--set", "evaluation.kl_questions=1",
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["rounds"] == 1
    evaluation = json.loads((tmp_path / "tatqa" / "initial" / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["questions"] == 4
