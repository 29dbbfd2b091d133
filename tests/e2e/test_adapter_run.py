"""A run that starts from an adapter: the adapter is policy 0, and it is what the run trains further and measures by."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from safetensors.torch import load_file

from rlaif.models.resolve import weights_id
from tests.adapters import change_config, save_adapter
from tests.e2e import command

BUILTIN = "builtin:smollm2-135m"


def answers(folder: Path) -> dict[str, str]:
    return {row["id"]: row["answer"] for row in pq.read_table(folder / "answers.parquet").to_pylist()}


def predicted(policy: Path, questions: Sequence[dict[str, str]], folder: Path) -> dict[str, str]:
    """Return the answers of `rlaif predict --policy`."""
    asked, output = folder / "questions.jsonl", folder / f"{policy.name}.csv"
    asked.write_text("".join(json.dumps(row) + "\n" for row in questions), encoding="utf-8")
    lengths = ["--set", "policy.max_length=384", "--set", "sampling.max_tokens=16", "--set", "policy.dtype=float32"]
    cache = ["--set", "cluster.policy.kv_cache_gib=0.25"]
    done = command.run(
        "predict", "--policy", str(policy), "--questions", str(asked), "-o", str(output), *lengths, *cache
    )
    assert done.returncode == 0, done.stderr
    with output.open(encoding="utf-8") as file:
        return {row["id"]: row["answer"] for row in csv.DictReader(file)}


@pytest.mark.timeout(900)
def test_a_run_starts_from_an_adapter_and_trains_it_further(tmp_path: Path, model_folder: str) -> None:
    adapter = save_adapter(tmp_path / "adapter", model_folder, size=0.02, r=8, lora_alpha=16)
    change_config(adapter, base_model_name_or_path=BUILTIN)
    done = command.run(
        "run", str(command.RECIPE), "--runs", str(tmp_path), "--set", f"policy.model={adapter}",
        "--set", "rounds.count=1", "--set", "training.reference=initial",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    run, trained = tmp_path / "small", tmp_path / "small" / "round-000"

    begun = json.loads((run / "run.json").read_text(encoding="utf-8"))["policy"]
    assert (begun["id"], begun["model"]) == (weights_id(str(adapter)), str(adapter))
    assert begun["base"] == {"model": BUILTIN, "id": weights_id(model_folder)}
    record = json.loads((trained / "policy.json").read_text(encoding="utf-8"))
    assert (record["parent"], record["base"]) == (begun["id"], begun["base"])

    # Before the first step the policy is its reference, and after the last it is near the adapter, not near zero.
    training = json.loads((trained / "training.json").read_text(encoding="utf-8"))
    assert training["log"][0]["margin"] == pytest.approx(0, abs=1e-4)
    before = load_file(adapter / "adapter_model.safetensors")
    after = load_file(trained / "policy" / "adapter_model.safetensors")
    assert before.keys() == after.keys()
    moved = max(float((after[name] - before[name]).abs().max()) for name in before)
    assert 0 < moved <= 1.1e-3 * len(training["log"])
    kl = json.loads((trained / "evaluation.json").read_text(encoding="utf-8"))["metrics"]["kl"]["mean"]
    assert abs(kl) < 20

    # The initial answers are the adapter's; the merged weights answer as the trained adapter does.
    questions = [
        {name: row[name] for name in ("id", "question", "context")}
        for row in pq.read_table(run / "prompts" / "heldout.parquet").to_pylist()
    ]
    assert predicted(adapter, questions, tmp_path) == answers(run / "initial")
    merged = command.run("merge", str(run), "-o", str(tmp_path / "merged"), "--json")
    assert merged.returncode == 0, merged.stderr
    assert json.loads(merged.stdout)["adapter_id"] == record["id"]
    assert predicted(tmp_path / "merged", questions, tmp_path) == answers(trained)
