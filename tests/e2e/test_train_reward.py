"""`rlaif train-reward`: from labels to a reward model that `rlaif judge report` measures on the held-out labels."""

import json
from pathlib import Path

import pytest

from rlaif.data.labels import Label, labels_jsonl, load_labels
from rlaif.models.resolve import file_sha256, weights_id
from rlaif.store.records.file_training_record import RewardFileRecord
from tests.e2e import command
from tests.tiny import save_chat_model

QUESTIONS = 20


def label(number: int) -> Label:
    good, bad = f"good w{number % 7}", f"bad w{number % 5}"
    better = "ab"[number % 2]
    return Label(
        id=f"l{number}", question=f"question q{number % QUESTIONS}", context=f"w{number % 9}",
        answer_a=good if better == "a" else bad, answer_b=bad if better == "a" else good,
        human="tie" if number == 3 else better,
    )  # fmt: skip


@pytest.mark.slow
def test_two_workers_train_measure_and_write_a_judge(tmp_path: Path) -> None:
    words = ["Question:", "question", "good", "bad", *(f"w{n}" for n in range(9)), *(f"q{n}" for n in range(QUESTIONS))]
    base = save_chat_model(tmp_path / "base", words)
    file, out = tmp_path / "labels.jsonl", tmp_path / "rewards"
    file.write_bytes(labels_jsonl([label(number) for number in range(120)]))
    settings = ["cluster.training.workers=2", "training.learning_rate=0.01", "training.epochs=6"]
    overrides = [word for setting in settings for word in ("--set", setting)]
    done = command.run(
        "train-reward", str(file), "--model", base, "-o", str(out), "--heldout-share", "0.5", "--json", *overrides
    )
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.splitlines()[-1])
    assert (printed["ties"], printed["cut"], printed["too_long"]) == (1, [], [])
    assert printed["heldout"]["accuracy"] == 1.0
    assert printed["model_id"] == weights_id(str(out))
    record = RewardFileRecord.read(str(out / "training.json"))
    assert record is not None
    assert record.heldout is not None
    assert record.sha256 == file_sha256(str(file))
    assert (record.train.questions, record.heldout.questions) == (10, 10)
    assert record.train.pairs + record.heldout.pairs == 119
    assert record.log[-1]["loss"] < record.log[0]["loss"]
    held = load_labels(str(out / "heldout.jsonl"))
    assert len({one.question for one in held}) == 10
    assert not (tmp_path / "rewards.work").exists()

    report = command.run("judge", "report", str(out / "judge.yaml"), "--labels", str(out / "heldout.jsonl"), "--json")
    assert report.returncode == 0, report.stderr
    assert json.loads(report.stdout)["figures"]["accuracy"]["value"] == 1.0
