"""From a YAML file and dotted overrides to a checked `Recipe`, or to an error that names every fault."""

import warnings
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from rlaif.errors import RenamedWarning, UserError
from rlaif.io.renamed import Renamed, Renames
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import YamlMapping, dump_yaml, parse_mapping, read_mapping, validated
from rlaif.recipe.base import Section
from rlaif.recipe.recipe import Recipe

S = TypeVar("S", bound=Section)

RENAMED: Renames = {
    "judge.canaries": Renamed("gold_set"),
    "questions.*.columns.answer": Renamed("gold_answer", {"answer": "gold_answer"}, others=True),
    "training.max_drift": Renamed("max_mismatch"),
    "training.nll": Renamed("sft_weight"),
}
"""Old keys that are still accepted."""


def load_recipe(name: str, overrides: Iterable[str] | None = None, cluster: str | None = None) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: path of a YAML file, or the name of a recipe in `./recipes` or the installed ones.
        overrides: `a.b=value` each, the value in YAML; later ones win, and all over the cluster file.
        cluster: path of a YAML file whose `cluster` section replaces the recipe's own.

    Raises:
        UserError: with the file, the line, the key and what was expected.
    """
    path = find_resource("recipes", name)
    mapping = read_mapping(path, RENAMED)
    mapping.tree.setdefault("name", path.stem)
    if cluster is not None:
        mapping.replace("cluster", _read_cluster(cluster))
    return _overridden(Recipe, mapping, overrides)


def parse_recipe(text: str, origin: str, overrides: Iterable[str] | None = None) -> Recipe:
    """Check the text of a recipe; `origin` names it in messages. See `load_recipe`."""
    return _overridden(Recipe, parse_mapping(text, origin, renames=RENAMED), overrides)


def stored_recipe(text: str, origin: str, overrides: Iterable[str] | None = None) -> Recipe:
    """Check the `recipe.yaml` of a run; nobody edits it, so its old keys raise no warning. See `load_recipe`."""
    return _overridden(Recipe, _stored(text, origin), overrides)


def stored_tree(text: str, origin: str) -> dict[str, Any]:
    """Return the values in the `recipe.yaml` of a run under today's keys, unchecked."""
    return _stored(text, origin).tree


def parse_overrides(kind: type[S], overrides: Iterable[str], given: Mapping[str, Any] | None = None) -> S:
    """Return a section of defaults with overrides, such as `training.epochs=2`; see `load_recipe`.

    Args:
        kind: the section.
        overrides: `a.b=value` each.
        given: values that stand in for a file's, such as {"policy": {"model": ...}}; overrides win.
    """
    return _overridden(kind, YamlMapping(deepcopy(dict(given or {})), {(): ("--set", None)}, RENAMED), overrides)


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe, defaults and all, as YAML."""
    return dump_yaml(recipe.model_dump(mode="json"))


def _stored(text: str, origin: str) -> YamlMapping:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RenamedWarning)
        return parse_mapping(text, origin, renames=RENAMED)


def _overridden(kind: type[S], mapping: YamlMapping, overrides: Iterable[str] | None) -> S:
    for override in overrides or ():
        mapping.override(override)
    return validated(TypeAdapter(kind), mapping)


def _read_cluster(name: str) -> YamlMapping:
    """Return the mapping of a file that has one section, `cluster`."""
    if not Path(name).is_file():
        raise UserError(f"--cluster {name}: no such file")
    mapping = read_mapping(Path(name))
    if mapping.tree.keys() != {"cluster"} or not isinstance(mapping.tree["cluster"], dict):
        raise UserError(f"--cluster {name}: expected one section, `cluster:`, as in a recipe")
    return mapping
