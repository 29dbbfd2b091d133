"""The outputs of runs on the pages are those of real runs: tutorials whole, others by the form of their lines."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import shown
from tests.ray_head import ray_head

PAGES = ("README.md", "docs/demo.md")
TUTORIALS = ("docs/tutorials/questions.md", "docs/tutorials/judge.md", "docs/tutorials/documents.md")
CLUSTER = "docs/tutorials/cluster.md"


def test_a_page_shows_the_lines_that_a_run_prints(finished_run: Path) -> None:
    printed = (finished_run.parent / "printed.txt").read_text(encoding="utf-8")
    outputs = [e for page in PAGES for e in shown.examples(page) if e.mark == "demo" and e.output]
    assert outputs
    for example in outputs:
        assert shown.has_shapes(example.output or "", printed), example


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", TUTORIALS)
def test_a_tutorial_runs_from_start_to_end(page: str, tmp_path: Path) -> None:
    run_page(page, tmp_path, dict(os.environ))


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_the_tutorial_on_clusters_runs_on_a_ray_head(tmp_path: Path) -> None:
    with ray_head(cpus=2, object_store=300_000_000) as head:
        run_page(CLUSTER, tmp_path, {**head.environment, "RAY_API_SERVER_ADDRESS": head.address})


def run_page(page: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """Run the blocks of a page one after another in one folder, and compare what they print."""
    folder, programs = tmp_path / "here", tmp_path / "bin"
    folder.mkdir()
    programs.mkdir()
    rlaif = programs / "rlaif"
    rlaif.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m rlaif "$@"\n', encoding="utf-8")
    rlaif.chmod(0o755)
    environment = {
        **environment, "PATH": f"{programs}{os.pathsep}{environment['PATH']}", "PYTHONPATH": str(shown.ROOT),
        "COLUMNS": shown.WIDTH, "RLAIF_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    for example in shown.examples(page):
        script = "\n".join(example.commands)
        done = subprocess.run(["bash", "-c", script], cwd=folder, env=environment, capture_output=True, text=True)
        if example.output is not None:
            texts = (done.stdout, done.stdout + done.stderr, done.stderr)
            assert any(shown.matches(example.output, text) for text in texts), f"{example}:\n{texts[1]}"
        elif example.mark:
            assert done.returncode == 0, done.stderr
