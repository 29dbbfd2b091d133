"""A run whose judge has a reward model, which each phase trains anew before its candidates are judged."""

import json
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from rlaif.models.resolve import weights_id
from rlaif.store.records.reward_record import RewardRecord
from tests.e2e import command
from tests.tiny import save_chat_model

WORDS = ["Question:", "What", "was", "the", "revenue", "million", "$", "in", "of", "seven", "none"]


@pytest.mark.timeout(1500)
def test_each_phase_judges_with_a_reward_model_of_its_own(tmp_path: Path) -> None:
    base = save_chat_model(tmp_path / "base", WORDS, max_position_embeddings=2048)
    labels = [
        {"id": f"l{n}", "question": f"What was the revenue of {n}?", "context": "", "answer_a": f"$ {n} million",
         "answer_b": "none", "human": "a"}
        for n in range(20)
    ]  # fmt: skip
    (tmp_path / "people.jsonl").write_text("".join(json.dumps(row) + "\n" for row in labels))
    (tmp_path / "rewards.yaml").write_text(f"kind: reward-model\nmodel: {base}\n")
    (tmp_path / "both.yaml").write_text("kind: panel\nmode: first-to-decide\njudges: [reference, ./rewards.yaml]\n")
    arguments = [
        "run", str(command.RECIPE), "--runs", str(tmp_path / "runs"),
        "--set", f"judge.name={tmp_path / 'both.yaml'}",
        "--set", f"reward={{retrain: true, pairs: {tmp_path / 'people.jsonl'}, training: {{learning_rate: 1.0e-3}}}}",
        "--set", "phases=[{objective: dpo, questions: 6}, {objective: dpo, questions: 6}]",
        "--set", "rounds={gate: {max_drop: 1.0}}",
    ]  # fmt: skip
    run = tmp_path / "runs" / "small"
    process = command.start(*arguments)
    assert command.wait_until(lambda: (run / "round-000" / "reward.json").is_file(), process, 600)
    process.send_signal(signal.SIGKILL)
    process.wait()
    first = (run / "round-000" / "reward.json").read_bytes()
    done = command.run(*arguments, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (run / "round-000" / "reward.json").read_bytes() == first
    assert "round 0: reward model" not in done.stdout
    assert "round 1: reward model: trained on" in done.stdout
    records = [RewardRecord.read(str(run / f"round-00{number}" / "reward.json")) for number in (0, 1)]
    shas = []
    for number, record in enumerate(records):
        assert record is not None
        assert weights_id(str(run / f"round-00{number}" / "reward")) == record.id
        assert record.train.human + (record.heldout.pairs if record.heldout else 0) >= 20
        verdicts = pq.read_table(run / f"round-00{number}" / "verdicts", columns=["judge", "judge_sha"]).to_pylist()
        asked = {row["judge_sha"] for row in verdicts if row["judge"] != "reference"}
        assert asked <= {record.judge_sha}
        shas.append(record.judge_sha)
    assert shas[0] != shas[1]
    assert records[0] is not None
    assert records[1] is not None
    assert records[1].parent == records[0].id
    assert "<h3>Reward model</h3>" in (run / "report.html").read_text(encoding="utf-8")
