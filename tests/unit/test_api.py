"""The public Python interface: its examples, its speed of import, and its use where an event loop already runs."""

import asyncio
import doctest
import subprocess
import sys
from pathlib import Path

import pytest

import rlaif
from rlaif import api
from rlaif.errors import UserError

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("module", [rlaif, api])
def test_examples_in_docstrings_hold(module: object) -> None:
    failed, tried = doctest.testmod(module)  # type: ignore[arg-type]
    assert tried > 0
    assert failed == 0


def test_examples_in_the_readme_hold() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = [block.partition("```")[0] for block in text.split("```pycon\n")[1:]]
    assert blocks
    for block in blocks:
        test = doctest.DocTestParser().get_doctest(block, {}, "README.md", "README.md", 0)
        assert doctest.DocTestRunner().run(test).failed == 0


def test_every_public_name_exists_and_is_documented() -> None:
    for name in rlaif.__all__:
        assert getattr(rlaif, name).__doc__, name
        assert name in dir(rlaif)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        rlaif.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy() -> None:
    program = "import sys, rlaif; print(sorted({'pydantic', 'torch', 'ray', 'vllm', 'pyarrow'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_a_judge_is_asked_where_an_event_loop_already_runs() -> None:
    async def notebook() -> str | None:
        question = rlaif.Question("q", "Sales?", gold_answer="$7 million")
        return rlaif.compare(rlaif.load_judge("reference"), question, "$8 million", "$7 million").side

    assert asyncio.run(notebook()) == "b"


def test_columns_of_a_file_are_mapped(tmp_path: Path) -> None:
    file = tmp_path / "questions.csv"
    file.write_text("query,gold\nWhat were sales?,$7 million\n", encoding="utf-8")
    (question,) = rlaif.read_questions(str(file), {"question": "query", "gold_answer": "gold"})
    assert (question.question, question.gold_answer) == ("What were sales?", "$7 million")


def test_labels_are_read(tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    written = rlaif.Label(id="1", question="Sales?", answer_a="$7m", answer_b="$8m", human="a")
    file.write_text(written.model_dump_json(), encoding="utf-8")
    assert rlaif.read_labels(str(file)) == [written]


def test_faults_are_raised_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="no-such-judge"):
        rlaif.load_judge("no-such-judge")
    with pytest.raises(UserError, match="no-such-recipe"):
        rlaif.run("no-such-recipe")
    with pytest.raises(ValueError, match="one of run and policy"):
        rlaif.predict("questions.jsonl", "answers.csv")
    assert capsys.readouterr() == ("", "")
