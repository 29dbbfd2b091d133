"""From a YAML file and dotted overrides to a checked `Recipe`, or to one message that names the key and the fault."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from rlaif.errors import UserError
from rlaif.io.resources import find_resource
from rlaif.recipe.base import Section
from rlaif.recipe.cluster import ClusterSection
from rlaif.recipe.recipe import Recipe

S = TypeVar("S", bound=Section)

_EXPECTED = {
    "extra_forbidden": "unknown key",
    "missing": "missing; expected a value",
}


def load_recipe(name: str, overrides: list[str] | None = None, cluster: str | None = None) -> Recipe:
    """Read, override and check a recipe.

    Args:
        name: path of a YAML file, or the name of a recipe in `./recipes` or the installed ones.
        overrides: `a.b=value` each, the value in YAML; later ones win, and all over the cluster file.
        cluster: path of a YAML file with a `cluster` section, taken in the place of the recipe's own.

    Raises:
        UserError: with the file, the key's path and what was expected.
    """
    path = find_resource("recipes", name)
    section = None if cluster is None else _read_cluster(cluster)
    return parse_recipe(read_utf8(path), str(path), overrides, path.stem, section)


def parse_recipe(
    text: str,
    origin: str,
    overrides: list[str] | None = None,
    default_name: str | None = None,
    cluster: dict[str, Any] | None = None,
) -> Recipe:
    """Check the text of a recipe; `origin` names it in messages. See `load_recipe`."""
    tree = parse_yaml(text, origin)
    if not isinstance(tree, dict):
        raise UserError(f"{origin}: expected a mapping of sections such as policy, questions and judge")
    if default_name is not None:
        tree.setdefault("name", default_name)
    if cluster is not None:
        tree["cluster"] = cluster
    for override in overrides or []:
        apply_override(tree, override)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise UserError(f"{origin}: " + "; ".join(validation_message(item) for item in error.errors())) from None


def _read_cluster(name: str) -> dict[str, Any]:
    """Return the `cluster` section of a file that has nothing else, checked here so that a fault names the file."""
    path = Path(name)
    if not path.is_file():
        raise UserError(f"--cluster {name}: no such file")
    tree = parse_yaml(read_utf8(path), name)
    if not isinstance(tree, dict) or tree.keys() != {"cluster"} or not isinstance(tree["cluster"], dict):
        raise UserError(f"--cluster {name}: expected one section, `cluster:`, as a recipe has it")
    section: dict[str, Any] = tree["cluster"]
    try:
        ClusterSection.model_validate(section)
    except ValidationError as error:
        items = ({**item, "loc": ("cluster", *item["loc"])} for item in error.errors())
        raise UserError(f"{name}: " + "; ".join(validation_message(item) for item in items)) from None
    return section


def read_utf8(path: Path) -> str:
    """Return a file's text; a UserError names the file and the byte that is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None


class _Loader(yaml.SafeLoader):
    """PyYAML's, but of a key that stands twice neither silently wins."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, key in enumerate(keys):
            if key.value in (earlier.value for earlier in keys[:index]):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, origin: str) -> Any:
    """Return what a YAML text holds; a UserError names its origin, the line and the fault."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"{origin}:{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{origin}:{mark.line + 1}" if mark else origin
        raise UserError(f"{where}: not YAML: {getattr(error, 'problem', None) or str(error).splitlines()[0]}") from None
    except (ValueError, RecursionError) as error:
        # A date that does not exist, or brackets without end.
        raise UserError(f"{origin}: not YAML: {error}") from None


def parse_overrides(kind: type[S], overrides: Iterable[str], given: Mapping[str, Any] | None = None) -> S:
    """Return a section of defaults with overrides, such as `training.epochs=2`; see `load_recipe`.

    Args:
        kind: the section.
        overrides: `a.b=value` each.
        given: values that stand in for a file's, such as {"policy": {"model": ...}}; overrides win.
    """
    tree: dict[str, Any] = deepcopy(dict(given or {}))
    for override in overrides:
        apply_override(tree, override)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise UserError("--set: " + "; ".join(validation_message(item) for item in error.errors())) from None


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set what `a.b=value` says, its value in YAML, and make the sections on the way."""
    key, equals, value = override.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise UserError(f"--set {override}: expected KEY=VALUE with a dotted key, such as training.beta=0.2")
    node = tree
    for part in parts[:-1]:
        child = node.get(part)
        if child is None:
            child = node[part] = {}
        if not isinstance(child, dict):
            raise UserError(f"--set {override}: {part} holds a value, not a section")
        node = child
    try:
        node[parts[-1]] = _number_or_self(yaml.safe_load(value))
    except (yaml.YAMLError, ValueError, RecursionError):
        raise UserError(f"--set {override}: the value is not YAML") from None


def _number_or_self(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as a string; a person who writes it means the number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def validation_message(item: Any) -> str:
    """Return one fault of a pydantic ValidationError as a person reads it: the key's path and what was expected."""
    # Pydantic puts the tag of a discriminated union into the path; the person's file has no such key.
    tags = {"file", "dataset", "demo"}
    path = ".".join(str(part) for index, part in enumerate(item["loc"]) if not (index > 0 and part in tags))
    if item["type"] == "extra_forbidden":
        return f"{path}: {_EXPECTED['extra_forbidden']}"
    if item["type"] == "missing":
        return f"{path}: {_EXPECTED['missing']}"
    text = str(item["msg"]).removeprefix("Value error, ")
    text = text[:1].lower() + text[1:]
    given = "" if isinstance(item["input"], dict) or not path else f" (got {item['input']!r})"
    return f"{path}: {text}{given}" if path else text


def dump_recipe(recipe: Recipe) -> str:
    """Return the resolved recipe, defaults and all, as YAML."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
