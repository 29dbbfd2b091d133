"""The files that users read and copy are beside the package in a checkout, and inside it in a wheel."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from rlaif.io.resources import find_resource, list_resources

ROOT = Path(__file__).parents[2]
WHEEL = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]["targets"][
    "wheel"
]
FOLDERS: dict[str, str] = WHEEL["force-include"]
KINDS = {"judges": ".yaml", "prompts": ".md", "recipes": ".yaml"}


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_folder_of_the_wheel_exists_and_has_its_expected_path() -> None:
    assert {*KINDS, "cluster"} == set(FOLDERS)
    for name, target in FOLDERS.items():
        assert target == f"rlaif/shipped/{name}"
        assert files(ROOT / name)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_found_by_its_name(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = [Path(name) for name in files(ROOT / kind)]
    assert {name.suffix for name in names} == {KINDS[kind]}
    for name in names:
        assert find_resource(kind, name.stem).samefile(ROOT / kind / name)
    assert list_resources(kind) == sorted(name.stem for name in names)


def test_they_hold_only_text_for_people() -> None:
    for name in FOLDERS:
        for file in files(ROOT / name):
            assert not file.endswith((".py", ".pyc"))
            (ROOT / name / file).read_text(encoding="utf-8")


def test_an_installed_wheel_finds_all_of_them(tmp_path: Path) -> None:
    """The wheel is built, unpacked and used from another folder, without the checkout."""
    pytest.importorskip("hatchling", reason="what builds the wheel is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    site = tmp_path / "site"
    for name, target in FOLDERS.items():
        assert files(site / target) == files(ROOT / name)
    code = (
        "import json, rlaif; from rlaif.io.resources import find_resource, list_resources\n"
        f"kinds = {list(KINDS)!r}\n"
        "found = {kind: {name: str(find_resource(kind, name)) for name in list_resources(kind)} for kind in kinds}\n"
        "print(json.dumps([rlaif.__file__, found]))"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "PYTHONPATH": str(site)}
    asked = subprocess.run([sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    package, found = json.loads(asked.stdout)
    assert Path(package).is_relative_to(site)
    for kind in KINDS:
        assert found[kind] == {Path(name).stem: str(site / FOLDERS[kind] / name) for name in files(ROOT / kind)}
    # Templates and styles of the package itself too.
    ours = {name for name in files(ROOT / "rlaif") if "__pycache__" not in name}
    assert ours <= set(files(site / "rlaif"))
