"""Every output on a page is its command's; tests/e2e/test_shown_runs.py has those of engines."""

import doctest
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests import shown
from tests.unit.small_run import SmallRun

PAGES = sorted(
    str(path.relative_to(shown.ROOT)) for pattern in ("README.md", "docs/**/*.md") for path in shown.ROOT.glob(pattern)
)
TUTORIALS = [page for page in PAGES if "tutorials" in page]
CANDIDATES = """\
{"question": "What were net sales?", "reference": "$412.5 million", "answers": ["$412.5 million", "$41.25 million", "$412,500 thousand"]}
{"question": "Who audits the company?", "reference": "Alder & Finch", "answers": ["Alder & Finch", "It is not named."]}
"""  # noqa: E501


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that needs engines fails at once: its block lacks a mark."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("this command starts Ray; mark its block with <!-- engine -->")

    monkeypatch.setattr("ray.init", refuse)


def shown_outputs(page: str) -> list[shown.Example]:
    return [e for e in shown.examples(page) if e.commands and e.output and e.mark in ("", "shape")]


def test_a_shown_text_is_compared_with_the_printed_one() -> None:
    assert doctest.testmod(shown).failed == 0
    assert not shown.matches("3 pairs in ...", "4 pairs in a.parquet")


def outside_tutorials() -> list[shown.Example]:
    return [example for page in PAGES if page not in TUTORIALS for example in shown_outputs(page)]


@pytest.mark.parametrize("example", outside_tutorials(), ids=str)
def test_a_page_shows_its_commands_output(
    example: shown.Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("candidates.jsonl").write_text(CANDIDATES, encoding="utf-8")
    SmallRun(tmp_path / "runs" / "demo")
    pair = pq.read_table("runs/demo/round-001/pairs.parquet")["pair_id"][0].as_py()
    printed = [shown.run_here(re.sub(r"\b[0-9a-f]{16}\b", pair, command), monkeypatch) for command in example.commands]
    compare(example, printed)


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_succeeds_and_shows_its_commands_outputs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    examples = shown.examples(page)
    assert len([e for e in examples if e.output]) > 2
    for example in examples:
        if example.mark == "":
            compare(example, [shown.run_here(command, monkeypatch) for command in example.commands])


def compare(example: shown.Example, printed: list[tuple[str, str]]) -> None:
    """Compare a command's output with its example's: standard output, alone or with standard error."""
    if example.output is None:
        return
    texts = ["".join(part[index] for part in printed) for index in (0, 1)]
    if example.mark == "shape":
        assert shown.has_shapes(example.output, texts[0]), texts[0]
    else:
        assert any(shown.matches(example.output, text) for text in texts), f"{example} prints:\n{texts[1]}"
