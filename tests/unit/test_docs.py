"""The documents against the code: every key of a recipe, every command, option, override, target and link."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rlaif.cli.main import app
from rlaif.judging.judgefile import LlmFile, PanelFile, ReferenceFile
from rlaif.recipe import DatasetQuestions, DemoQuestions, FileQuestions, Recipe, load_recipe, parse_recipe

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "cluster/**/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
RECIPES = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]

# `questions.heldout` and `questions.test` take the same keys as `questions.train`; the page gives them once.
_GIVEN_ONCE = ("questions.heldout.", "questions.test.")


def sections(field: FieldInfo) -> list[type[BaseModel]]:
    """Return the sections that a field may hold: none for a plain value, several for a source of questions."""
    found = [field.annotation, *get_args(field.annotation)]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseModel)]


def keys(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield the dotted path and the field of every key below a section, sections' own among them."""
    for name, field in model.model_fields.items():
        yield f"{path}{name}", field
        for section in sections(field):
            yield from keys(section, f"{path}{name}.")


def rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of every row of every table."""
    for line in text.splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def default(field: FieldInfo) -> str:
    """Return a default as the page writes it."""
    if field.default is PydanticUndefined:
        return "required"
    if field.default == "":
        return "empty"
    if field.default is None or isinstance(field.default, bool):
        return f"`{json.dumps(field.default)}`"
    return f"`{field.default}`"


def test_every_key_of_a_recipe_is_on_the_page() -> None:
    told = {key for cells in rows(RECIPES) for key in re.findall(r"`([^`]+)`", cells[0])}
    told |= {key for line in RECIPES.splitlines() if line.startswith("#") for key in re.findall(r"`([^`]+)`", line)}
    told |= set(re.findall(r"`(questions\.(?:train|heldout|test)(?:\.columns)?)`", RECIPES))
    wanted = {path for path, _ in keys(Recipe) if not path.startswith(_GIVEN_ONCE)}
    assert len(wanted) > 60
    assert wanted - told == set()
    # Nor is a key told that there is not.
    assert {key for key in told if "." in key} - {path for path, _ in keys(Recipe)} <= {"backend.type", "backend.model"}


def test_every_default_is_the_one_on_the_page() -> None:
    told = {key: cells[2] for cells in rows(RECIPES) for key in re.findall(r"`([^`]+)`", cells[0]) if len(cells) == 4}
    # These two stand for more than one field.
    of_more = {"name", "questions.train.type"}
    for path, field in keys(Recipe):
        if path in told and path not in of_more and not (sections(field) and field.default is not None):
            of_sources = {default(source.model_fields[path.split(".")[-1]]) for source in _sources(path)}
            assert told[path] in (of_sources or {default(field)}), path


def _sources(path: str) -> list[Any]:
    """Return the kinds of source that have a key of `questions.train`."""
    kinds = (FileQuestions, DatasetQuestions, DemoQuestions)
    part = path.removeprefix("questions.train.")
    return [kind for kind in kinds if part in kind.model_fields] if part != path else []


@pytest.mark.parametrize("model", [ReferenceFile, LlmFile, PanelFile])
def test_every_key_of_a_judge_file_is_on_the_page(model: type[BaseModel]) -> None:
    kind = get_args(model.model_fields["kind"].annotation)[0]
    told = {cells[1].strip("`"): cells[3] for cells in rows(RECIPES) if cells[0] == f"`{kind}`" and len(cells) == 5}
    wanted = {path: default(field) for path, field in keys(model) if path != "kind" and not sections(field)}
    assert told == wanted


def test_the_least_recipe_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", RECIPES, re.DOTALL)
    assert parse_recipe(block, "docs/recipes.md").judge.name == "finance-panel"


def lines_of_blocks(text: str) -> Iterator[str]:
    """Yield the commands of all blocks of bash, continued lines joined."""
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE):
        yield from (line.strip() for line in block.replace("\\\n", " ").splitlines())


def commands() -> list[tuple[str, str]]:
    """Return (page, command) of every `rlaif` in a block of a page."""
    return [
        (str(page), line.strip())
        for page in PAGES
        for line in lines_of_blocks((ROOT / page).read_text(encoding="utf-8"))
        if line.strip().startswith("rlaif ")
    ]


def test_the_readme_shows_commands() -> None:
    shown = {shlex.split(line)[1] for page, line in commands() if page == "README.md"}
    assert {"run", "plan", "predict", "trace", "report", "runs", "submit", "status", "logs", "stop"} <= shown


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_shown_command_parses(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *words = shlex.split(line, comments=True)[1:]
    if name == "--help":
        return
    assert name in COMMANDS, f"{page}: rlaif {name}"
    # Raises where an option does not exist or an argument is missing; runs nothing.
    context = COMMANDS[name].make_context(name, words)
    overrides = list(context.params.get("set_") or [])
    recipe = context.params.get("recipe")
    # A command about a recipe of ours must also be right in what it overrides.
    if recipe and not recipe.isupper():
        load_recipe(recipe, overrides)


@pytest.mark.parametrize("page", [str(page) for page in PAGES])
def test_a_command_in_a_sentence_exists(page: str) -> None:
    for words in re.findall(r"`rlaif ([^`]+)`", (ROOT / page).read_text(encoding="utf-8")):
        name, *rest = words.split()
        if name.startswith("-"):
            assert name in ("--help", "--version"), f"{page}: rlaif {words}"
            continue
        assert name in COMMANDS, f"{page}: rlaif {words}"
        options = {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("-")} <= options, f"{page}: rlaif {words}"


@pytest.mark.parametrize("page", [str(page) for page in PAGES])
def test_what_a_page_links_to_and_makes_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for line in lines_of_blocks(text) for word in re.findall(r"^make ([a-z-]+)", line)}
    used |= set(re.findall(r"`make ([a-z-]+)", text))
    assert used <= targets, page
