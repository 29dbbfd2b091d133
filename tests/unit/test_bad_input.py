"""Wrong use ends with exit code 2 and one line that names the fault; nothing starts and nothing is lost."""

import errno
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from rlaif.cli.main import app
from rlaif.recipe import dump_recipe, load_recipe
from rlaif.store.records.run_records import InitialPolicy, JudgeRecord, RunRecord
from tests.full_disk import full_disk

GOOD = '{"question": "What was revenue?", "gold_answer": "$1"}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with questions and a recipe that a run would take."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    (tmp_path / "train.jsonl").write_text(GOOD)
    (tmp_path / "heldout.jsonl").write_text('{"question": "What was profit?", "gold_answer": "$2"}\n')
    write_recipe(tmp_path)
    return tmp_path


def write_recipe(folder: Path, **changes: Any) -> None:
    recipe: dict[str, Any] = {
        "policy": {"model": "builtin:smollm2-135m"},
        "questions": {
            "train": {"type": "file", "path": "train.jsonl"},
            "heldout": {"type": "file", "path": "heldout.jsonl"},
        },
        "judge": {"name": "reference"},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(recipe | changes))


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["run", "mine.yaml", *words])


def assert_refused(result: Result, *parts: str) -> None:
    assert result.exit_code == 2, result.output
    (line,) = [line for line in result.stderr.splitlines() if line.strip()]
    assert line.startswith("rlaif: ")
    for part in parts:
        assert part in line


def test_a_recipe_with_an_unknown_key(here: Path) -> None:
    write_recipe(here, colour="red")
    assert_refused(run(), "mine.yaml:1: colour: unknown key")
    write_recipe(here)
    assert_refused(run("--set", "training.bata=3"), "--set: training.bata: unknown key")


def test_settings_that_cannot_work_together(here: Path) -> None:
    assert_refused(run("--set", "training.loss=ipo", "--set", "training.label_smoothing=0.1"), "label_smoothing", "ipo")


def test_a_missing_recipe(here: Path) -> None:
    (here / "mine.yaml").unlink()
    assert_refused(run(), "mine", "no recipe by that name or path", "demo")


def test_a_missing_file(here: Path) -> None:
    (here / "train.jsonl").unlink()
    assert_refused(run(), "train.jsonl: no such file")


def test_a_csv_without_a_question_column(here: Path) -> None:
    (here / "train.csv").write_text("name,context\nx,y\n")
    assert_refused(run("--set", "questions.train.path=train.csv"), "train.csv: no column 'question'", "name, context")


def test_a_broken_line_of_jsonl(here: Path) -> None:
    (here / "train.jsonl").write_text(GOOD + '{"question": \n')
    assert_refused(run(), "train.jsonl:2: not JSON")


def test_an_empty_question(here: Path) -> None:
    (here / "train.jsonl").write_text(GOOD + '{"question": "  "}\n')
    assert_refused(run(), "train.jsonl:2: empty question")


@pytest.mark.parametrize("model", ["/no/such/model", "./nowhere", "builtin:gpt", "nobody/no-such-model"])
def test_a_model_that_does_not_exist(here: Path, model: str) -> None:
    write_recipe(here, policy={"model": model})
    assert_refused(run(), f"{model}: no such")


def test_a_run_directory_of_another_recipe(here: Path) -> None:
    """The error names the keys that differ, but no key that the run's own version of rlaif did not know."""
    older = yaml.safe_load(dump_recipe(load_recipe("mine.yaml", ["training.beta=0.5"])))
    del older["training"]["human_weight"]
    begun = here / "runs" / "mine"
    begun.mkdir(parents=True)
    (begun / "recipe.yaml").write_text(yaml.safe_dump(older))
    RunRecord(
        name="mine", rlaif="0", created="2026", versions={}, git=None, seed=0, state="running", questions={},
        policy=InitialPolicy(model="m", id="x", template="t", template_sha="y"),
        judge=JudgeRecord(name="j", kind="reference", sha="z"),
    ).write(str(begun / "run.json"))  # fmt: skip
    refused = run()
    assert_refused(refused, "another recipe", "training.beta (0.5 -> 0.1)", "--set name=")
    assert "human_weight" not in refused.stderr


def test_a_path_of_runs_that_is_not_a_folder(here: Path) -> None:
    assert_refused(run("--runs", "train.jsonl"), ": cannot write to ", "train.jsonl; name another folder with --runs")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--policy", "builtin:smollm2-135m", "--questions", "none.csv"], "none.csv: no such file"),
        (["--policy", "builtin:smollm2-135m", "--questions", "bad.jsonl"], "bad.jsonl:2: not JSON"),
        (["--policy", "./nowhere", "--questions", "train.jsonl"], "./nowhere: no such directory"),
        (["--run", "nothing", "--questions", "train.jsonl"], "nothing: no run there"),
        (["--questions", "train.jsonl"], "expected one of --run and --policy"),
    ],
)
def test_predicting(here: Path, words: list[str], says: str) -> None:
    (here / "bad.jsonl").write_text(GOOD + "{\n")
    assert_refused(CliRunner().invoke(app, ["predict", *words, "-o", "answers.csv"]), says)
    assert not (here / "answers.csv").exists()


def test_a_full_disk_before_the_start(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage(10**9, 10**9, 0))
    assert_refused(run(), "0 MiB free")


def test_a_disk_that_is_full_when_the_run_is_written(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system refuses the first write, before Ray or a model starts."""
    monkeypatch.setattr("rlaif.rounds.run.ray_cluster", lambda *_: nullcontext())
    monkeypatch.setattr("rlaif.models.policy_source.resolve_model", lambda *_: str(here))
    with full_disk(100):
        refused = run()
    assert_refused(refused, f"no space left on the disk of {here}/runs/mine/recipe.yaml")
    assert [path.name for path in (here / "runs" / "mine").iterdir()] == [".lock"]


def test_a_disk_that_fills_up_during_the_run(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(here / "runs" / "mine" / "shard"))

    monkeypatch.setattr("rlaif.rounds.run.execute", full)
    assert_refused(run(), "no space left on the disk of", "run the same command again; nothing committed is lost")
