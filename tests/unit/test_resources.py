"""Judges, prompts and recipes are found by path or by name, the user's own first."""

from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.io.resources import find_resource, list_resources, resource_folders

ROOT = Path(__file__).parents[2]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def make(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_projects_own_are_found_from_anywhere(here: Path) -> None:
    assert find_resource("recipes", "demo").samefile(ROOT / "recipes" / "demo.yaml")
    assert find_resource("judges", "reference").samefile(ROOT / "judges" / "reference.yaml")
    assert find_resource("prompts", "answer").samefile(ROOT / "prompts" / "answer.md")


def test_a_copy_shadows_the_installed_one(here: Path) -> None:
    mine = make(here / "recipes" / "demo.yaml")
    assert find_resource("recipes", "demo") == mine
    assert find_resource("recipes", "tatqa").samefile(ROOT / "recipes" / "tatqa.yaml")
    assert resource_folders("recipes")[0] == here / "recipes"


def test_a_name_may_have_its_ending(here: Path) -> None:
    assert find_resource("recipes", "demo.yaml") == find_resource("recipes", "demo")
    # A file in the working directory comes before the one in a folder.
    assert find_resource("recipes", "demo.yaml") != make(here / "demo.yaml")
    assert find_resource("recipes", "demo.yaml") == here / "demo.yaml"


def test_a_path_starts_at_the_working_directory_or_the_file_that_names_it(here: Path) -> None:
    panel = make(here / "mine" / "panel.yaml")
    beside = make(here / "mine" / "other.yaml")
    assert find_resource("judges", "./other.yaml", panel).samefile(beside)
    assert find_resource("judges", "mine/other.yaml").samefile(beside)
    assert find_resource("judges", str(beside)) == beside
    nearer = make(here / "other.yaml")
    assert find_resource("judges", "./other.yaml", panel).samefile(nearer)


def test_the_error_for_an_unknown_name_lists_the_known_ones(here: Path) -> None:
    with pytest.raises(UserError, match=r"^\./mine\.yaml: no such file$"):
        find_resource("judges", "./mine.yaml")
    with pytest.raises(UserError, match=r"^mine: no judge by that name or path; those here: .*reference"):
        find_resource("judges", "mine")
    with pytest.raises(UserError, match=r"^mine: no prompt by that name or path; those here: .*answer"):
        find_resource("prompts", "mine.md")


def test_a_folder_is_not_a_resource(here: Path) -> None:
    (here / "judges" / "mine.yaml").mkdir(parents=True)
    with pytest.raises(UserError, match="no judge by that name"):
        find_resource("judges", "mine")
    with pytest.raises(UserError, match="no such file"):
        find_resource("judges", "judges/mine.yaml")


def test_a_bare_name_never_leaves_its_folder(here: Path) -> None:
    make(here / "secret.yaml")
    with pytest.raises(UserError):
        find_resource("judges", "secret")


def test_a_list_has_each_name_once(here: Path) -> None:
    make(here / "judges" / "reference.yaml")
    make(here / "judges" / "own.yaml")
    make(here / "judges" / "notes.txt")
    names = list_resources("judges")
    assert names == sorted(set(names))
    assert {"own", "reference", "finance-grounded"} <= set(names)
    assert "notes" not in names


def test_in_a_checkout_its_folders_come_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert resource_folders("judges") == [ROOT / "judges"]
