"""The command line's edge: exit codes, one line that a person can act on, and a fast start."""

import errno
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rlaif import __version__
from rlaif.cli.errors import at_the_edge
from rlaif.cli.main import app
from rlaif.errors import Interrupted, UserError, WorkError
from rlaif.jobs.bundle import make_bundle
from rlaif.jobs.run_jobs import end_reason, free_id
from rlaif.judges.judge_file import load_judge_file
from rlaif.recipe import FileQuestions, Recipe, load_recipe

run = CliRunner()


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, rlaif.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "vllm", "ray", "transformers", "datasets", "pydantic", "pyarrow", "numpy"} & set(loaded)


def test_help_answers_in_half_a_second() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "rlaif", "--help"], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Seconds of a core, and the best of three: other work on the machine must not decide.
    assert min(once() for _ in range(3)) < 0.5


def test_every_command_has_help() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert {"run", "plan", "predict", "submit", "status", "logs", "stop"} <= set(commands)
    for name in commands:
        shown = run.invoke(app, [name, "--help"])
        assert shown.exit_code == 0, shown.output
        assert commands[name].help


def test_version() -> None:
    assert run.invoke(app, ["--version"]).output == f"rlaif {__version__}\n"


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (UserError("training.beta: expected more"), 2, "rlaif: training.beta: expected more"),
        (WorkError("the engine died"), 1, "rlaif: the engine died"),
        (Interrupted("stopped; go on with the same command"), 130, "rlaif: stopped; go on"),
        (KeyboardInterrupt(), 130, "rlaif: interrupted"),
        (
            OSError(errno.ENOSPC, "No space left on device", "/disk/part-0"),
            2,
            "rlaif: no space left on the disk of /disk",
        ),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "run the same command again; nothing committed is lost"),
    ],
)
def test_an_error_is_one_line_and_a_code(error: BaseException, code: int, says: str) -> None:
    shown = _invoke(error)
    assert shown.exit_code == code
    assert says in shown.stderr
    assert len(shown.stderr.strip().splitlines()) == 1
    assert shown.stdout == ""


def test_a_defect_keeps_its_traceback() -> None:
    assert isinstance(_invoke(ZeroDivisionError("ours")).exception, ZeroDivisionError)
    assert isinstance(_invoke(FileNotFoundError(errno.ENOENT, "gone")).exception, FileNotFoundError)


def _invoke(error: BaseException) -> Any:
    tiny = typer.Typer()

    def work() -> None:
        raise error

    tiny.command()(at_the_edge()(work))
    return run.invoke(tiny)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["plan", "no-such-recipe"], "no-such-recipe"),
        (["plan", "questions", "--set", "training.betta=1", "--json"], "training.betta: unknown key"),
        (["plan", "questions", "--set", "questions.train.path=absent.jsonl"], "absent.jsonl"),
        (["status", "--address", "http://127.0.0.1:1"], "no Ray head answers"),
        (["logs", "rlaif-x", "--address", "127.0.0.1:8265"], "expected the Ray head's dashboard"),
    ],
)
def test_wrong_use_exits_with_2(command: list[str], says: str) -> None:
    shown = run.invoke(app, command)
    assert shown.exit_code == 2
    assert says in shown.stderr
    assert shown.stdout == ""


def test_plan_prints_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shown = run.invoke(app, ["plan", "llama-8b-8gpu", "--json", "--price-per-gpu-hour", "2"])
    assert shown.exit_code == 0, shown.output
    plan = json.loads(shown.stdout)
    assert plan["hardware"]["devices"] == 8
    assert plan["seats"][0]["shape"]["parameters"] == 8_030_261_248
    assert plan["cost"] > 0


def test_plan_prints_tables_that_fit_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "80")
    shown = run.invoke(app, ["plan", "llama-8b-8gpu"])
    assert shown.exit_code == 0, shown.output
    assert "438,064" in shown.stdout
    assert "…" not in shown.stdout


def test_a_job_gets_an_unused_id() -> None:
    assert free_id("tatqa", []) == "rlaif-tatqa"
    assert free_id("tatqa", ["rlaif-tatqa", None, "rlaif-tatqa-2", "raysubmit_x"]) == "rlaif-tatqa-3"


def test_a_failed_jobs_reason_is_its_last_line() -> None:
    message = "Job entrypoint command failed with exit code 2, last available logs:\nstarting\nrlaif: x: no such file\n"
    assert end_reason(message) == "x: no such file"
    assert end_reason(None) == ""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a judge and questions of its own."""
    folder = tmp_path / "project"
    (folder / "judges").mkdir(parents=True)
    (folder / "judges" / "mine.yaml").write_text(
        "kind: panel\nmode: first-to-decide\njudges: [reference, ./other.yaml]\n"
    )
    (folder / "judges" / "other.yaml").write_text("kind: llm\nprompt: finance-grounded\n")
    (folder / "train.jsonl").write_text('{"question": "q"}\n')
    (tmp_path / "heldout.jsonl").write_text('{"question": "h"}\n')
    monkeypatch.chdir(folder)
    return folder


def _recipe(*overrides: str) -> Recipe:
    paths = ["questions.train.path=train.jsonl", "questions.heldout.path=../heldout.jsonl"]
    return load_recipe("questions", [*paths, *overrides])


def test_a_bundled_recipe_means_the_same_as_here(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _folder(tmp_path)
    here = load_judge_file("judges/mine.yaml").sha
    moved = make_bundle(_recipe("judge.name=judges/mine.yaml"), folder)
    monkeypatch.chdir(folder)
    assert load_recipe("recipe.yaml") == moved
    assert load_judge_file(moved.judge.name).sha == here
    for source, text in ((moved.questions.train, "q"), (moved.questions.heldout, "h")):
        assert isinstance(source, FileQuestions)
        assert json.loads(Path(source.path).read_text()) == {"question": text}


def test_a_bundle_takes_the_code_of_a_judge_along(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "judges" / "code").mkdir()
    (project / "judges" / "code" / "mine.py").write_text("def judge(*asked):\n    return [1, 2]\n")
    (project / "judges" / "other.yaml").write_text("kind: python\nfile: code/mine.py\n")
    folder = _folder(tmp_path)
    here = load_judge_file("judges/mine.yaml").sha
    moved = make_bundle(_recipe("judge.name=judges/mine.yaml"), folder)
    monkeypatch.chdir(folder)
    assert load_judge_file(moved.judge.name).sha == here
    assert (folder / "judges" / "code" / "mine.py").is_file()


def test_a_bundle_takes_the_judge_that_reranks_along(project: Path, tmp_path: Path) -> None:
    (project / "near.yaml").write_text("kind: llm\nprompt: rubric\nbackend: {type: openai, model: m}\n")
    documents = "questions.documents={folder: /docs, rerank: 'judge:./near.yaml:model=n'}"
    folder = _folder(tmp_path)
    moved = make_bundle(_recipe("judge.name=reference", documents), folder)
    assert moved.questions.documents is not None
    assert moved.questions.documents.rerank == "judge:near.yaml:model=n"
    assert (folder / "near.yaml").is_file()


def test_a_bundle_holds_only_what_the_recipe_names(project: Path, tmp_path: Path) -> None:
    (project / "secrets.env").write_text("KEY=1")
    folder = _folder(tmp_path)
    make_bundle(_recipe("judge.name=reference"), folder)
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == [
        "judges/reference.yaml",
        "prompts/answer.md",
        "questions/heldout-heldout.jsonl",
        "recipe.yaml",
        "train.jsonl",
    ]


def _make_outside_judge(project: Path) -> str:
    (project.parent / "outside.yaml").write_text("kind: reference\n")
    return "judge.name=../outside.yaml"


def _make_local_model(project: Path) -> str:
    (project / "model").mkdir()
    return "policy.model=model"


def _leave_out_questions(project: Path) -> str:
    (project / "train.jsonl").unlink()
    return "name=run"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_make_outside_judge, "outside the working directory"),
        (_make_local_model, "policy.model"),
        (_leave_out_questions, "train.jsonl: no such file"),
        (
            lambda project: "questions.documents={paths: [train.jsonl]}",
            r"documents.paths: train.jsonl is a file in this",
        ),
        (lambda project: "questions.documents={folder: judges}", r"documents.folder: judges is a folder in this"),
        (
            lambda project: "questions.documents={folder: /docs, method: encoder, encoder: judges}",
            r"documents.encoder: judges is a folder",
        ),
    ],
)
def test_files_that_the_cluster_could_not_find_are_refused(
    project: Path, tmp_path: Path, make: Callable[[Path], str], says: str
) -> None:
    override = make(project)
    with pytest.raises(UserError, match=says):
        make_bundle(_recipe(override), _folder(tmp_path))


@pytest.mark.parametrize(("value", "refused"), [("secret", True), ("Bearer ${TEAM_KEY}", False)])
def test_a_job_takes_headers_of_variables_alone(project: Path, tmp_path: Path, value: str, refused: bool) -> None:
    backend = f"{{type: openai, model: m, headers: {{X-Team: '{value}'}}}}"
    recipe = _recipe("judge.name=finance-grounded", f"judge.backend={backend}")
    with pytest.raises(UserError, match=r"judge.backend.headers.X-Team: .*--env NAME") if refused else nullcontext():
        make_bundle(recipe, _folder(tmp_path))


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    return folder
