"""The folder that a submitted job works in: the resolved recipe and every file that it names by a relative path.

Invariant: the recipe means the same in that folder as here. A file in the working directory keeps its path, an
installed judge or template keeps its name, and any other file that the cluster could not find is refused.
"""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from rlaif.errors import UserError
from rlaif.io.resources import resource_folders
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.rating import RewardModelSpec
from rlaif.judges.spec import JudgeSpec
from rlaif.prompts.template import load_template
from rlaif.recipe import DatasetQuestions, DocumentsSection, FileQuestions, Recipe, dump_recipe
from rlaif.recipe.judge import ENVIRONMENT_VARIABLE, OpenAIBackend
from rlaif.retrieval.recipe_searcher import reranking_judge
from rlaif.retrieval.searchers import JUDGE


def make_bundle(recipe: Recipe, folder: Path) -> Recipe:
    """Fill an empty folder with a job's files, and return the recipe that it holds as `recipe.yaml`."""
    tree = recipe.model_dump(mode="json")
    _refuse_local_folder("policy.model", recipe.policy.model)
    _refuse_unsent_headers(recipe)
    judges, template = _judges(recipe), load_template(recipe.policy.prompt)
    for judge in judges:
        for model in [*judge.models, *(leaf.model for leaf in judge.leaves if isinstance(leaf, RewardModelSpec))]:
            _refuse_local_folder(f"judge {judge.name}: model", model)
    files = {file for judge in judges for file in judge.files}
    for kind, path in {*files, ("prompts", template.path)}:
        _copy(path, folder / _target(kind, path))
    for section, judge in zip(_judge_trees(tree), judges, strict=True):
        if "/" in section["name"]:
            section["name"] = str(_target("judges", judge.path))
    if "/" in recipe.policy.prompt:
        tree["policy"]["prompt"] = str(_target("prompts", template.path))
    for role in ("train", "heldout", "test"):
        source = getattr(recipe.questions, role)
        if isinstance(source, DatasetQuestions):
            _refuse_local_folder(f"questions.{role}.id", source.id)
        if isinstance(source, FileQuestions):
            tree["questions"][role]["path"] = _copy_data(source.path, f"questions.{role}.path", role, folder)
    if recipe.questions.documents is not None:
        _take_documents(recipe.questions.documents, tree["questions"]["documents"], folder)
    if recipe.judge.gold_set is not None:
        gold_set = _copy_data(recipe.judge.gold_set.path, "judge.gold_set.path", "gold-set", folder)
        for section in _judge_trees(tree):
            section["gold_set"]["path"] = gold_set
    if recipe.feedback.preferences is not None:
        preferences = _copy_data(recipe.feedback.preferences.path, "feedback.preferences.path", "preferences", folder)
        tree["feedback"]["preferences"]["path"] = preferences
    for index, phase in enumerate(recipe.phases or ()):
        for name, file in phase.files.items():
            key = f"phases.{index}.{name}"
            tree["phases"][index][name]["path"] = _copy_data(file, f"{key}.path", key, folder)
    if recipe.reward.pairs is not None:
        tree["reward"]["pairs"] = _copy_data(recipe.reward.pairs, "reward.pairs", "reward", folder)
    moved = Recipe.model_validate(tree)
    (folder / "recipe.yaml").write_text(dump_recipe(moved), encoding="utf-8")
    with contextlib.chdir(folder):
        same = [judge.sha for judge in _judges(moved)] == [judge.sha for judge in judges]
        same = same and load_template(moved.policy.prompt).sha == template.sha
    if not same:
        raise UserError(f"judge {moved.judge.name}: one of its files names a different file in the job's folder")
    return moved


def _take_documents(section: DocumentsSection, tree: dict[str, Any], folder: Path) -> None:
    """Take the judge that reranks along, and refuse documents and models that the cluster could not find."""
    for root in section.roots:
        key = "questions.documents.folder" if root == section.folder else "questions.documents.paths"
        _refuse_local(key, root, "the absolute path or URL of a folder")
    for key, model in (("encoder", section.encoder), ("rerank", section.rerank)):
        if model is not None:
            _refuse_local_folder(f"questions.documents.{key}", model)
    judge = reranking_judge(section)
    if judge is None:
        return
    for leaf in judge.leaves:
        if isinstance(leaf, RewardModelSpec):
            _refuse_local_folder(f"judge {judge.name}: model", leaf.model)
    for kind, path in judge.files:
        _copy(path, folder / _target(kind, path))
    if "/" in tree["rerank"]:
        _, colon, overrides = tree["rerank"].removeprefix(JUDGE).partition(":")
        tree["rerank"] = f"{JUDGE}{_target('judges', judge.path)}{colon}{overrides}"


def _judges(recipe: Recipe) -> list[JudgeSpec]:
    """Return the recipe's judge, and that of each phase that asks one."""
    own = [phase.judge for phase in recipe.phases or () if phase.judge is not None]
    return [load_judge_file(section.name, section) for section in (recipe.judge, *own)]


def _judge_trees(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the sections that `_judges` reads, in its order."""
    return [tree["judge"], *(phase["judge"] for phase in tree["phases"] or () if phase["judge"] is not None)]


def _copy_data(path: str, key: str, role: str, folder: Path) -> str:
    """Copy a data file that a key of the recipe names by a relative path, and return its path in the job's folder."""
    if "://" in path or Path(path).is_absolute():
        return path
    if not Path(path).is_file():
        raise UserError(f"{path}: no such file ({key})")
    target = _inside(Path(path)) or Path("questions") / f"{role}-{Path(path).name}"
    _copy(Path(path), folder / target)
    return str(target)


def _target(kind: str, path: Path) -> Path:
    if inside := _inside(path):
        return inside
    if path.resolve().parent in [folder.resolve() for folder in resource_folders(kind)]:
        return Path(kind) / path.name
    raise UserError(f"{path}: outside the working directory, so a job cannot take it along: copy it into ./{kind}")


def _inside(path: Path) -> Path | None:
    here, there = Path.cwd().resolve(), path.resolve()
    return there.relative_to(here) if there.is_relative_to(here) else None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def _refuse_unsent_headers(recipe: Recipe) -> None:
    own = {f"phases.{index}.judge": phase.judge for index, phase in enumerate(recipe.phases or ())}
    for key, judge in {"judge": recipe.judge, **own}.items():
        backend = judge.backend if judge else None
        for name, value in backend.headers.items() if isinstance(backend, OpenAIBackend) else ():
            if ENVIRONMENT_VARIABLE.search(value):
                continue
            raise UserError(
                f"{key}.backend.headers.{name}: a value is not stored, so a job cannot take it along; expected a "
                "variable, such as ${NAME}, and --env NAME"
            )


def _refuse_local_folder(key: str, value: str, expected: str = "a hub id, or the absolute path of a folder") -> None:
    if Path(value).is_dir():
        _refuse_local(key, value, expected)


def _refuse_local(key: str, value: str, expected: str) -> None:
    if not Path(value).is_absolute() and Path(value).exists():
        kind = "folder" if Path(value).is_dir() else "file"
        raise UserError(
            f"{key}: {value} is a {kind} in this machine's working directory; expected {expected} that every node has"
        )
