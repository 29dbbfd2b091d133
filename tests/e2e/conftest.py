"""The undisturbed runs that all end-to-end tests read."""

from pathlib import Path

import pytest

from tests.e2e import command


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one undisturbed run of the small recipe."""
    runs = tmp_path_factory.mktemp("undisturbed")
    done = command.run("run", str(command.RECIPE), "--runs", str(runs))
    assert done.returncode == 0, done.stdout + done.stderr
    (runs / "printed.txt").write_text(done.stdout, encoding="utf-8")
    return runs / "small"


@pytest.fixture(scope="session")
def finished_phases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one undisturbed run of the recipe of three phases."""
    runs = tmp_path_factory.mktemp("undisturbed-phases")
    done = command.run("run", str(command.PHASES), "--runs", str(runs))
    assert done.returncode == 0, done.stdout + done.stderr
    return runs / "phases"
