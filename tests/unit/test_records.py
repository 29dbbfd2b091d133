"""The records of a run: they read back as written, and every command refuses a file of another layout in one line."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.errors import UserError
from rlaif.rounds.gate import compare_policies
from rlaif.stats.bootstrap import Estimate
from rlaif.store.records.file_training_record import DpoFileRecord, FileTrainingRecord, RewardFileRecord
from rlaif.store.records.record import Record
from rlaif.store.records.round_records import EvaluationRecord, PolicyRecord, RoundRecord
from rlaif.store.records.run_records import RunRecord
from rlaif.store.records.training_record import TrainingRecord
from tests.unit.small_run import BASE, SmallRun, policy_id

OLD_RUN = {
    "name": "old", "rlaif": "0.1.0", "created": "2026-01-31T09:00:00", "versions": {}, "git": None, "seed": 0,
    "policy": {"model": "builtin:smollm2-135m", "id": "0" * 64, "prompt": "answer", "prompt_sha": "1" * 64},
    "judge": {"name": "reference", "kind": "reference", "sha": "2" * 64}, "questions": {}, "state": "finished",
}  # fmt: skip
OLD_EVALUATION = {
    "policy": "0" * 64, "promoted": True, "questions": 1, "failed": 0,
    "metrics": {"score": {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 1}}, "difference": None, "gate": None,
}  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> SmallRun:
    return SmallRun(tmp_path / "runs" / "small", prompts=3, heldout=4)


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"})
    assert result.exit_code == 2, result.output
    (line,) = (line for line in result.stderr.splitlines() if line.strip())
    return line


def overwrite(path: str, value: Any) -> None:
    Path(path).write_text(json.dumps(value))


@pytest.mark.parametrize(
    ("record", "path"),
    [
        (RunRecord, "run.json"),
        (EvaluationRecord, "initial/evaluation.json"),
        (EvaluationRecord, "round-001/evaluation.json"),
        (PolicyRecord, "round-000/policy.json"),
        (TrainingRecord, "round-000/training.json"),
        (RoundRecord, "round-000/manifest.json"),
    ],
)
def test_a_record_reads_back_as_it_was_written(
    small: SmallRun, tmp_path: Path, record: type[Record], path: str
) -> None:
    read = record.read(small.run.path(path))
    assert read is not None
    read.write(str(tmp_path / "copy.json"))
    assert record.read(str(tmp_path / "copy.json")) == read
    assert (tmp_path / "copy.json").read_bytes() == Path(small.run.path(path)).read_bytes()


TRAINED = {
    "layout": 1, "file": "pairs.jsonl", "sha256": "0" * 64, "files": {"model.safetensors": "1" * 64}, "steps": 1,
    "pairs": 3, "tokens": 70, "seconds": 1.5, "left_out": {"equal": ["pairs.jsonl:3"]},
    "log": [{"step": 1.0, "loss": 0.69}],
}  # fmt: skip
TRAINED_POLICY = {
    **TRAINED, "policy": {"model": "builtin:smollm2-135m", "adapter": None, "id": "2" * 64}, "too_long": ["p4"],
    "training": {"lora": {"rank": 4}}, "policy_id": "3" * 64, "groups": 3, "loss": 0.69, "reference": "trainer",
    "mismatch": None, "mismatch_bias": None, "mismatch_margin": None, "mismatch_p99": None,
    "attention": "groups", "unpacked": "",
}  # fmt: skip
TRAINED_REWARDS = {
    **TRAINED, "form": "labels", "prompt": {"name": "answer", "sha256": "2" * 64}, "ties": 1, "unfinished": [],
    "model": {"model": "builtin:smollm2-135m", "id": "3" * 64}, "heldout": None, "settings": {"seed": 0},
    "train": {"questions": 2, "pairs": 3, "human": 3, "sha256": "4" * 64, "cut": [], "too_long": []},
    "model_id": "5" * 64,
}  # fmt: skip


@pytest.mark.parametrize(("record", "value"), [(DpoFileRecord, TRAINED_POLICY), (RewardFileRecord, TRAINED_REWARDS)])
def test_the_record_of_a_training_from_a_file_reads_back(
    tmp_path: Path, record: type[FileTrainingRecord], value: dict[str, Any]
) -> None:
    overwrite(str(tmp_path / "training.json"), value)
    read = record.read(str(tmp_path / "training.json"))
    assert read is not None
    read.write(str(tmp_path / "copy.json"))
    assert record.read(str(tmp_path / "copy.json")) == read
    assert json.loads((tmp_path / "copy.json").read_text()).keys() == value.keys()


def test_the_record_of_an_older_training_is_read(tmp_path: Path) -> None:
    older = {name: value for name, value in TRAINED_POLICY.items() if name not in ("mismatch_bias", "mismatch_margin")}
    overwrite(str(tmp_path / "training.json"), {**older, "mismatch_p99": 0.1, "training": {"probe_tolerance": 0.25}})
    read = DpoFileRecord.read(str(tmp_path / "training.json"))
    assert read is not None
    assert (read.mismatch_margin, read.mismatch_p99, read.training.max_probe_difference) == (None, 0.1, None)


def test_a_missing_record_is_none(tmp_path: Path) -> None:
    assert RunRecord.read(str(tmp_path / "run.json")) is None
    (tmp_path / "file").write_text("")
    assert RunRecord.read(str(tmp_path / "file" / "run.json")) is None


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({**OLD_EVALUATION, "layout": 3}, "layout 3, but this version of rlaif reads layout 2; use the version that"),
        (OLD_EVALUATION, "layout none, but this version"),
        ([1, 2], "layout none, but this version"),
        ({"layout": 2}, "policy: Field required; expected a file that rlaif wrote"),
        ({**OLD_EVALUATION, "layout": 2, "more": 1}, "more: Extra inputs are not permitted; expected a file"),
        ({**OLD_EVALUATION, "layout": 2, "metrics": {"f1": {"mean": 1}}}, "metrics.f1.low: Field required; expected"),
    ],
)
def test_another_layout_and_a_missing_field_are_named(tmp_path: Path, value: Any, message: str) -> None:
    path = tmp_path / "evaluation.json"
    path.write_text(json.dumps(value))
    with pytest.raises(UserError) as raised:
        EvaluationRecord.read(str(path))
    assert str(raised.value).startswith(f"{path}: {message}")
    assert len(str(raised.value).splitlines()) == 1


def test_every_command_refuses_a_run_of_an_older_layout_in_one_line(small: SmallRun) -> None:
    runs, path = str(Path(small.run.root).parent), small.run.path("run.json")
    overwrite(path, OLD_RUN)
    expected = f"{path}: layout none, but this version of rlaif reads layout 2"
    questions = str(Path(runs).parent / "questions.jsonl")
    Path(questions).write_text('{"id": "1", "question": "What?"}\n')
    out = str(Path(runs).parent / "out.csv")
    for arguments in (
        ["report", "small", "--runs", runs],
        ["runs", "--runs", runs],
        ["trace", "small", "abc", "--runs", runs],
        ["predict", "--run", "small", "--questions", questions, "--output", out, "--runs", runs],
        ["run", "demo", "--runs", runs, "--set", "name=small"],
    ):
        assert expected in refused(*arguments), arguments


def test_an_old_evaluation_in_a_run_is_refused_by_name(small: SmallRun) -> None:
    runs, path = str(Path(small.run.root).parent), small.run.path("round-000", "evaluation.json")
    overwrite(path, OLD_EVALUATION)
    (pair, *_) = small.pair_ids
    for arguments in (["report", "small"], ["runs"], ["trace", "small", pair]):
        assert f"{path}: layout none" in refused(*arguments, "--runs", runs)


def test_runs_lists_the_others_beside_a_run_that_it_cannot_read(small: SmallRun) -> None:
    runs = Path(small.run.root).parent
    (runs / "old").mkdir()
    overwrite(str(runs / "old" / "run.json"), OLD_RUN)
    result = CliRunner().invoke(app, ["runs", "--runs", str(runs), "--json"])
    assert result.exit_code == 2
    assert [entry["name"] for entry in json.loads(result.stdout)] == ["small"]
    assert f"{runs / 'old' / 'run.json'}: layout none" in result.stderr


def test_the_current_policy_is_the_last_that_was_promoted(small: SmallRun) -> None:
    assert small.run.current_policy(BASE, 0) == (small.run.current_policy(BASE, 0)[0], None)
    assert small.run.current_policy(BASE, 0)[0].id == BASE
    for before in (1, 2, 10_000):
        policy, directory = small.run.current_policy(BASE, before)
        assert (policy.id, policy.kind, policy.serial) == (policy_id(1), "lora", 1)
        assert directory is not None
        assert (directory.number, policy.folder) == (0, directory.path("policy"))
        assert policy.probe is not None
        assert policy.probe.sequences[0].token_ids == [1, 2]


@pytest.mark.parametrize(
    ("before", "after", "passed"),
    [
        (0.4, 0.4, True),
        (0.4, 0.36, True),
        (0.4, 0.34, False),
        (None, 0.4, False),
        (0.4, None, False),
        (0.4, math.nan, False),
    ],
)
def test_a_gate_without_a_figure_rejects_the_policy(
    tmp_path: Path, before: float | None, after: float | None, passed: bool
) -> None:
    gate = compare_policies("score", before, after, 0.05)
    assert gate.passed == passed
    record = EvaluationRecord(
        policy="p", promoted=passed, questions=1, failed=0, metrics={"score": Estimate(None, None, None, 0)},
        difference=None, gate=gate,
    )  # fmt: skip
    record.write(str(tmp_path / "evaluation.json"))
    assert EvaluationRecord.read(str(tmp_path / "evaluation.json")) == record
