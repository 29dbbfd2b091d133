"""The documents against the code: every key of recipe, judge and prompt files; every command, option and link."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import pytest
import typer
from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from docs import generate
from rlaif.cli.main import app
from rlaif.data.criteria import CriterionSection
from rlaif.judge_evals.figures import FIGURES
from rlaif.judges.http_judge import HttpSpec
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.python_judge import PythonSpec
from rlaif.judges.rating import ReferenceSpec, RewardModelSpec
from rlaif.prompts.front_matter import (
    AnswerFrontMatter,
    PairwiseJson,
    PairwiseLabel,
    PairwiseLogprob,
    PointwiseJson,
    PointwiseLogprob,
    PointwiseMarks,
    PointwiseScore,
)
from rlaif.prompts.template import VARIABLES
from rlaif.recipe import Recipe, load_recipe, parse_recipe
from rlaif.recipe.judge import OpenAIBackend, VllmBackend
from rlaif.rounds.identity import differing_keys

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/**/*.md", "cluster/**/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
PAGE = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
RECIPES, _, JUDGES_AND_PROMPTS = PAGE.partition("\n## Judge files\n")
JUDGES, _, PROMPTS = JUDGES_AND_PROMPTS.partition("\n## Renamed keys\n")[0].partition("\n## Prompt files\n")
ROOT_COMMAND: Any = typer.main.get_command(app)

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


def test_generated_parts_are_up_to_date() -> None:
    """`make docs` writes them: keys, types, defaults and meanings, figures, variables, packages and layers."""
    assert [path.name for path, _ in generate.differing()] == []


def test_every_key_of_a_recipe_is_on_the_page() -> None:
    shown = {key for cells in rows(RECIPES) for key in re.findall(r"`([^`]+)`", cells[0])}
    shown |= {key for line in RECIPES.splitlines() if line.startswith("#") for key in re.findall(r"`([^`]+)`", line)}
    shown |= set(re.findall(r"`(questions\.(?:train|heldout|test)(?:\.(?:columns|type))?)`", RECIPES))
    wanted = {path for path, _ in keys(Recipe) if not path.startswith(_GIVEN_ONCE)}
    assert len(wanted) > 60
    assert wanted - shown == set()
    # The page shows no key that does not exist.
    assert {key for key in shown if "." in key} <= {path for path, _ in keys(Recipe)}


def may_change(path: str) -> bool:
    """Whether a run continues after a key's value changed."""
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for tree, value in ((old, 1), (new, 2)):
        *above, last = path.split(".")
        for section in above:
            tree = tree.setdefault(section, {})
        tree[last] = value
    return not differing_keys(old, new)


def test_keys_that_may_change_between_two_starts_are_those_on_the_pages() -> None:
    free = {path for path, _ in keys(Recipe) if may_change(path)}
    wanted = {path for path in free if path.rpartition(".")[0] not in free}
    (sentence,) = re.findall(r"Between two starts of one run, only (.*?) may change", RECIPES, re.DOTALL)
    assert set(re.findall(r"`([^`]+)`", sentence)) == wanted


@pytest.mark.parametrize(
    ("annotation", "default", "type_text", "default_text"),
    [
        (Annotated[int, Field(ge=1, le=5)], 2, "integer, at least 1, at most 5", "`2`"),
        (float | None, Field(default=None, gt=0), "number, above 0, or null", "`null`"),
        (Literal["a", "b"], "a", "`a` or `b`", "`a`"),
        (Literal["a", "b", "c"], ..., "one of `a`, `b`, `c`", "required"),
        (tuple[str, str], ("A", "B"), "list of two strings", "`[A, B]`"),
        (int | float | list[int | float], 1.0, "integer, number, or list of integers or numbers", "`1.0`"),
        (str | list[str], "all", "string, or list of strings", "`all`"),
        (bool, False, "true or false", "`false`"),
        (str, "", "string", "empty"),
    ],
)
def test_types_and_defaults_are_put_into_words(
    annotation: Any, default: Any, type_text: str, default_text: str
) -> None:
    field = create_model("Section", key=(annotation, default)).model_fields["key"]
    assert (generate.type_text(field), generate.default_text(field)) == (type_text, default_text)


def part(text: str, heading: str) -> str:
    """Return the text from a heading to the next one."""
    return re.split(r"^#+ ", text.partition(f"{heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]


@pytest.mark.parametrize(
    ("model", "backends"),
    [
        (ReferenceSpec, ()),
        (LlmSpec, (VllmBackend, OpenAIBackend)),
        (RewardModelSpec, ()),
        (PanelSpec, ()),
        (PythonSpec, ()),
        (HttpSpec, ()),
    ],
)
def test_every_key_of_a_judge_file_is_on_the_page(
    model: type[BaseModel], backends: tuple[type[BaseModel], ...]
) -> None:
    kind = get_args(model.model_fields["kind"].annotation)[0]
    shown = [cells[0].strip("`") for cells in rows(part(JUDGES, f"### `kind: {kind}`")) if cells[0] != "key"]
    wanted = [path for path in model.model_fields if path != "kind"]
    if model is LlmSpec:
        wanted += [path for path, _ in keys(CriterionSection, "criteria.NAME.")]
    for backend in backends:
        wanted += [path for path, _ in keys(backend, "backend.") if path != "backend.type"]
        assert f"`backend: {{type: {get_args(backend.model_fields['type'].annotation)[0]}}}`" in JUDGES
    assert sorted(shown) == sorted(wanted)


def test_every_kind_of_judge_is_in_the_readme() -> None:
    cells = [cells[0] for cells in rows((ROOT / "README.md").read_text(encoding="utf-8"))]
    assert {"reference", "llm", "reward-model", "panel", "python", "http"} <= set(
        re.findall(r"`([^`]+)`", " ".join(cells))
    )


@pytest.mark.parametrize(
    ("kind", "models"),
    [
        ("pairwise", [PairwiseLogprob, PairwiseLabel, PairwiseJson]),
        ("pointwise", [PointwiseLogprob, PointwiseScore, PointwiseJson, PointwiseMarks]),
    ],
)
def test_every_key_of_a_prompt_file_is_on_the_page(kind: str, models: list[type[BaseModel]]) -> None:
    text = part(PROMPTS, f"### `kind: {kind}`")
    shown = [cells[0].strip("`") for cells in rows(text) if cells[0] != "key"]
    assert shown == [name for model in models for name in model.model_fields if name not in ("kind", "verdict")]
    assert re.findall(r"`verdict: (\w+)`", text) == [
        get_args(model.model_fields["verdict"].annotation)[0] for model in models
    ]
    assert set(AnswerFrontMatter.model_fields) == {"kind"}


def test_every_variable_of_a_prompt_is_on_the_page() -> None:
    shown = {cells[0].strip("`") for cells in rows(PROMPTS) if len(cells) == 3 and cells[0] != "kind"}
    assert shown == set(VARIABLES)


def test_every_figure_of_a_judge_report_is_on_the_page() -> None:
    page = (ROOT / "docs" / "judges.md").read_text(encoding="utf-8")
    assert set(FIGURES) <= {cells[0].strip("`") for cells in rows(page)}


def test_the_least_recipe_is_one() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
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


def find_command(words: list[str], where: str) -> tuple[Any, list[str]]:
    """Return the command that words begin with, and the words that are left for it."""
    command, rest = ROOT_COMMAND, list(words)
    while rest and hasattr(command, "commands") and not rest[0].startswith("-"):
        assert rest[0] in command.commands, where
        command = command.commands[rest.pop(0)]
    return command, rest


def test_the_readme_shows_commands() -> None:
    shown = {tuple(shlex.split(line)[1:3]) for page, line in commands() if page == "README.md"}
    assert {
        "run", "plan", "predict", "label", "train", "trace", "report", "runs", "submit", "status", "logs", "stop",
    } <= {words[0] for words in shown}  # fmt: skip
    assert {("judge", verb) for verb in ("list", "check", "try", "report", "compare")} <= shown


def test_every_command_is_shown_on_some_page() -> None:
    shown = {tuple(shlex.split(line)[1:3]) for _, line in commands()}
    verbs = {("judge", verb) for verb in ROOT_COMMAND.commands["judge"].commands}
    assert verbs <= shown
    assert set(ROOT_COMMAND.commands) <= {words[0] for words in shown}


@pytest.mark.parametrize(("page", "line"), commands())
def test_a_shown_command_parses(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    where = f"{page}: {line}"
    command, words = find_command(shlex.split(line, comments=True)[1:], where)
    if words == ["--help"]:
        return
    assert not hasattr(command, "commands"), where
    # Raises where an option does not exist or an argument is missing; runs nothing.
    context = command.make_context(command.name, words)
    if "tutorials" in page:
        # A tutorial writes the recipes and judges that it names; test_shown_outputs.py runs it.
        return
    overrides = list(context.params.get("set_") or [])
    recipe = context.params.get("recipe")
    # A command about a recipe or a judge of ours must also be right in what it overrides and names.
    if recipe and not recipe.isupper():
        load_recipe(recipe, overrides)
    for name in (context.params.get(parameter) for parameter in ("name", "first", "second", "judge")):
        # A path in a user's own folder, such as a trained reward model's, does not exist here.
        if name and name != "mine" and ("/" not in name or (ROOT / name).is_file()):
            load_judge_file(name)


@pytest.mark.parametrize("page", [str(page) for page in PAGES])
def test_a_command_in_a_sentence_exists(page: str) -> None:
    for words in re.findall(r"`rlaif ([^`]+)`", (ROOT / page).read_text(encoding="utf-8")):
        where = f"{page}: rlaif {words}"
        command, rest = find_command(words.split(), where)
        options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word for word in rest if word.startswith("-")} <= options, where


@pytest.mark.parametrize("page", [str(page) for page in PAGES])
def test_link_targets_and_make_targets_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("http") or (ROOT / page).parent.joinpath(target).exists(), f"{page}: {target}"
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = {word for line in lines_of_blocks(text) for word in re.findall(r"^make ([a-z-]+)", line)}
    used |= set(re.findall(r"`make ([a-z-]+)", text))
    assert used <= targets, page
