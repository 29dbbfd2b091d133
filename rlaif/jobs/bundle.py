"""The folder that a submitted job works in: the resolved recipe and every file that it names by a relative path.

Invariant: read in that folder, the recipe means what it means here. A file inside the working directory keeps its
path; an installed judge or prompt keeps its name; anything else that the cluster could not find is refused.
"""

import contextlib
import shutil
from pathlib import Path

from rlaif.errors import UserError
from rlaif.io.resources import resource_folders
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.reward_model import RewardModelSpec
from rlaif.prompts.template import load_template
from rlaif.recipe import DatasetQuestions, FileQuestions, Recipe, dump_recipe


def make_bundle(recipe: Recipe, folder: Path) -> Recipe:
    """Fill an empty folder for a job, with the recipe as `recipe.yaml`; returns the recipe as it stands there.

    Args:
        recipe: the resolved recipe.
        folder: where the job's files go.

    Raises:
        UserError: a file is missing, or lies where the cluster cannot find it.
    """
    tree = recipe.model_dump(mode="json")
    _refuse_local_folder("policy.model", recipe.policy.model)
    judge, prompt = load_judge_file(recipe.judge.name), load_template(recipe.policy.prompt)
    for model in [*judge.models, *(leaf.model for leaf in judge.leaves if isinstance(leaf, RewardModelSpec))]:
        _refuse_local_folder(f"judge {judge.name}: model", model)
    for kind, path in {*judge.files, ("prompts", prompt.path)}:
        _copy(path, folder / _place(kind, path))
    if "/" in recipe.judge.name:
        tree["judge"]["name"] = str(_place("judges", judge.path))
    if "/" in recipe.policy.prompt:
        tree["policy"]["prompt"] = str(_place("prompts", prompt.path))
    for role in ("train", "heldout", "test"):
        source = getattr(recipe.questions, role)
        if isinstance(source, DatasetQuestions):
            _refuse_local_folder(f"questions.{role}.id", source.id)
        if isinstance(source, FileQuestions) and "://" not in source.path and not Path(source.path).is_absolute():
            place = _take(Path(source.path), f"questions.{role}.path", role, folder)
            tree["questions"][role]["path"] = str(place)
    gold_set = recipe.judge.gold_set
    if gold_set is not None and "://" not in gold_set.path and not Path(gold_set.path).is_absolute():
        tree["judge"]["gold_set"]["path"] = str(_take(Path(gold_set.path), "judge.gold_set.path", "gold-set", folder))
    moved = Recipe.model_validate(tree)
    (folder / "recipe.yaml").write_text(dump_recipe(moved), encoding="utf-8")
    _check(moved, judge.sha, prompt.sha, folder)
    return moved


def _take(path: Path, key: str, role: str, folder: Path) -> Path:
    """Copy a data file that a key of the recipe names; returns its place, relative to the job's folder."""
    if not path.is_file():
        raise UserError(f"{path}: no such file ({key})")
    place = _inside(path) or Path("questions") / f"{role}-{path.name}"
    _copy(path, folder / place)
    return place


def _place(kind: str, path: Path) -> Path:
    """Return where a judge or prompt file goes, relative to the job's folder."""
    if inside := _inside(path):
        return inside
    if path.resolve().parent in [folder.resolve() for folder in resource_folders(kind)]:
        return Path(kind) / path.name
    raise UserError(f"{path}: outside the working directory; a job takes along what lies in it: copy it into ./{kind}")


def _inside(path: Path) -> Path | None:
    """Return a path relative to the working directory, or None where it lies outside."""
    here, there = Path.cwd().resolve(), path.resolve()
    return there.relative_to(here) if there.is_relative_to(here) else None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _refuse_local_folder(key: str, value: str) -> None:
    if not Path(value).is_absolute() and Path(value).is_dir():
        raise UserError(
            f"{key}: {value} is a folder of this machine's working directory; expected the absolute path of one "
            "that every node has, or a hub id"
        )


def _check(recipe: Recipe, judge_sha: str, prompt_sha: str, folder: Path) -> None:
    """Read the judge and the prompt as the job will, and hold them against what they are here."""
    with contextlib.chdir(folder):
        same = load_judge_file(recipe.judge.name).sha == judge_sha
        same = same and load_template(recipe.policy.prompt).sha == prompt_sha
    if not same:
        raise UserError(f"judge {recipe.judge.name}: a file that it names means another one in the job's folder")
