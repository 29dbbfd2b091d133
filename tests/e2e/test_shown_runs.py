"""What the pages show of runs is what runs print: tutorials whole, other outputs by the form of their lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import shown

PAGES = ("README.md", "docs/demo.md")
TUTORIALS = ("docs/tutorials/questions.md", "docs/tutorials/judge.md")


def test_a_page_shows_the_lines_that_a_run_prints(finished_run: Path) -> None:
    printed = (finished_run.parent / "printed.txt").read_text(encoding="utf-8")
    outputs = [e for page in PAGES for e in shown.examples(page) if e.mark == "demo" and e.output]
    assert outputs
    for example in outputs:
        assert shown.has_shapes(example.output or "", printed), example


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_runs_from_its_beginning_to_its_end(page: str, tmp_path: Path) -> None:
    folder, programs = tmp_path / "here", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    rlaif = programs / "rlaif"
    rlaif.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rlaif "$@"\n', encoding="utf-8")
    rlaif.chmod(0o755)
    environment = {
        **os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(shown.ROOT),
        "COLUMNS": shown.WIDTH, "RLAIF_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    for example in shown.examples(page):
        script = "\n".join(example.commands)
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        if example.output is not None:
            texts = (done.stdout, done.stdout + done.stderr, done.stderr)
            assert any(shown.matches(example.output, text) for text in texts), f"{example}:\n{texts[1]}"
        elif example.mark == "engine":
            assert done.returncode == 0, done.stderr
