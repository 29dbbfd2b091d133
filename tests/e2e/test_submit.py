"""A submitted run whose driver is killed resumes when it is submitted again."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from tests.e2e import command
from tests.ray_head import Head, ray_head


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A Ray head with room for engines and trainer."""
    with ray_head(cpus=2, object_store=300_000_000) as started:
        yield started


def drivers(runs: Path) -> list[psutil.Process]:
    """Return the processes that drive a run under a folder of runs."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        # The job's shell has the same words inside one argument.
        if str(runs) in words and "rlaif" in words:
            found.append(process)
    return found


def ids(run: Path, table: str) -> list[str]:
    """Return the round and id of each question in a table, once for each shard."""
    found: list[str] = []
    for path in sorted(run.glob(f"round-*/{table}/part-*.parquet")):
        prompts = dict.fromkeys(pq.read_table(path, columns=["prompt_id"])["prompt_id"].to_pylist())
        found += [f"{path.parts[-3]} {prompt}" for prompt in prompts]
    return found


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_driver_is_resumed(head: Head, finished_run: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    words = ("submit", str(command.RECIPE), "--runs", str(runs), "--json")
    first = head.rlaif(*words)
    assert first.returncode == 0, first.stderr
    run = runs / "small"
    deadline = time.monotonic() + 600
    while not list(run.glob("round-000/candidates/part-*.parquet")):
        assert time.monotonic() < deadline, head.rlaif("logs", "rlaif-small").stdout
        time.sleep(0.2)
    # A second job would be a second driver of the run.
    assert head.rlaif(*words).returncode == 2
    for process in drivers(runs):
        process.kill()
    committed = {path: path.read_bytes() for path in run.glob("round-*/*/part-*.parquet")}
    assert head.rlaif("logs", "rlaif-small", "--follow", timeout=300).returncode == 1

    second = head.rlaif(*words, "--follow", timeout=900)
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout)["job"] == "rlaif-small-2"
    assert "resuming" in second.stderr
    # Committed files were neither lost nor made again, and every question occurs once.
    assert all(path.read_bytes() == content for path, content in committed.items())
    for table in ("candidates", "verdicts"):
        assert set(Counter(ids(run, table)).values()) == {1}
        assert sorted(ids(run, table)) == sorted(ids(finished_run, table))
