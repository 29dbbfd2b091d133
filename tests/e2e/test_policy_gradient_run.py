"""A run whose phases are policy gradients: rewards from stored verdicts, trainings that go on with their state."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e import command

RECIPE = Path(__file__).parent / "policy_gradients.yaml"
OBJECTIVES = ["grpo", "grpo", "rloo", "ppo"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run."""
    runs = tmp_path_factory.mktemp("policy-gradients")
    done = command.run("run", str(RECIPE), "--runs", str(runs))
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "policy_gradients"


def read(run: Path, number: int, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / f"round-{number:03d}" / name).read_text(encoding="utf-8"))
    return found


def test_each_round_gathers_the_rewards_of_its_candidates(run: Path) -> None:
    for number, objective in enumerate(OBJECTIVES):
        manifest = read(run, number, "manifest.json")
        assert manifest["objective"] == objective
        # Where all answers earned the same, there is no policy to evaluate.
        evaluated = ["evaluate"] if manifest["stages"]["gather"]["units"] else []
        assert list(manifest["stages"]) == ["sample", "judge", "gather", "train", *evaluated, "promote"]
        rows = pq.read_table(run / f"round-{number:03d}" / "rollouts.parquet").to_pylist()
        assert len(rows) == 16
        gathered = manifest["stages"]["gather"]
        assert gathered["units"] + sum(gathered["left_out"].values()) == 16
        for row in rows:
            assert len(row["logprobs"]) == len(row["token_ids"])
            assert row["reward"] is None or 0 <= row["reward"] <= 1


def test_the_state_of_the_current_policy_is_kept(run: Path) -> None:
    trained = [number for number in range(4) if read(run, number, "manifest.json")["stages"]["train"]["steps"]]
    assert 3 in trained  # Of PPO every answer counts.
    for number in trained:
        record = read(run, number, "training.json")
        assert record["unit"] == "answers"
        assert {"reward", "ratio", "clipped", "importance"} <= record["log"][0].keys()
    (state,) = run.glob("round-*/state")
    assert state.parent.name == "round-003"
    assert (state / "complete").read_bytes() == b"whole"
    assert (state / "value_head.pt").is_file()


def test_a_rollout_is_traced_to_the_policy_that_learned_it(run: Path) -> None:
    row = pq.read_table(run / "round-003" / "rollouts.parquet").to_pylist()[0]
    shown = json.loads(command.run("trace", str(run), row["rollout_id"], "--json").stdout)
    assert (shown["kind"], shown["answer"]) == ("rollout", row["answer"])
    assert shown["training"]["policy"] == read(run, 3, "policy.json")["id"]
