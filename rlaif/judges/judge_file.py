"""Reads a judge file, `judges/NAME.yaml`: a checked `JudgeSpec`, or one message with the file, the line and the key."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from rlaif.errors import UserError
from rlaif.io.renamed import Renamed
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import read_mapping, validated
from rlaif.judges.http_judge import HttpSpec
from rlaif.judges.llm import LlmSpec
from rlaif.judges.overlap import OverlapSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.python_judge import PythonSpec
from rlaif.judges.rating import ReferenceSpec, RewardModelSpec
from rlaif.judges.spec import JudgeSpec, KeyFault, Origin
from rlaif.recipe.judge import JudgeOverrides, merged, split_judge_name

AnySpec = ReferenceSpec | OverlapSpec | LlmSpec | RewardModelSpec | PanelSpec | PythonSpec | HttpSpec
_FILE: TypeAdapter[AnySpec] = TypeAdapter(Annotated[AnySpec, Field(discriminator="kind")])

_RENAMED = {"orders": Renamed("swap_positions", {"both": True, "given": False})}
"""Old keys that are still accepted. A judge's sha256 is computed with the old names."""


def load_judge_file(
    name: str, overrides: JudgeOverrides | None = None, *, refused_kinds: Collection[str] = ()
) -> JudgeSpec:
    """Read and check a judge file with its prompt, and a panel's with its members'.

    Args:
        name: its path, or the name of a judge in `./judges` or the installed ones; either with overrides, such as
            `finance-grounded:reasoning` or `finance-panel:model=some/model`.
        overrides: more of them, which win.
        refused_kinds: kinds of judges that are an error here, as a panel's members too. A service that takes judge
            files of others passes `python`, whose code runs with the service's own rights, and `http`, which reaches
            whatever the service does. All judges are made from what this function returns.
    """
    file, given = _named(name)
    given = merged(given, overrides.given() if overrides is not None else {})
    spec = _load(find_resource("judges", file), _plain_name(name), given, (), refused_kinds=refused_kinds)
    for key in given:
        if key == "skip_when_both_below":
            fits, problem = isinstance(spec, PanelSpec), "is no panel"
        else:
            fits, problem = any(isinstance(leaf, LlmSpec) for leaf in spec.leaves), "asks no model of kind llm"
        if not fits:
            raise UserError(f"{spec.path}: {key} has no effect: the judge {problem}")
    return spec


def _load(
    path: Path, name: str, overrides: Mapping[str, Any], above: tuple[Path, ...], *, refused_kinds: Collection[str]
) -> JudgeSpec:
    chain = (*above, path.resolve())
    passed_on = {key: value for key, value in overrides.items() if key != "skip_when_both_below"}

    def load_member(member_name: str, key: str) -> JudgeSpec:
        try:
            file, given = _named(member_name)
            member = find_resource("judges", file, path)
        except UserError as error:
            raise KeyFault(key, str(error)) from None
        if member.resolve() in chain:
            circle = [*chain[chain.index(member.resolve()) :], member.resolve()]
            raise KeyFault(key, f"a panel that asks itself: {' -> '.join(path.stem for path in circle)}")
        return _load(member, _plain_name(member_name), merged(given, passed_on), chain, refused_kinds=refused_kinds)

    mapping = read_mapping(path, _RENAMED)
    if (kind := mapping.tree.get("kind")) in tuple(refused_kinds):
        raise UserError(mapping.fault(("kind",), f"judges of kind {kind} are not accepted here"))
    _override(mapping.tree, overrides)
    try:
        return validated(_FILE, mapping, Origin(path, name, load_member))
    except KeyFault as fault:
        key = tuple(int(part) if part.isdecimal() else part for part in fault.key.split("."))
        raise UserError(mapping.fault(key, fault.problem)) from None


def _named(name: str) -> tuple[str, dict[str, Any]]:
    """Return the file that a judge's name is of, and the overrides in the name, checked."""
    file, given = split_judge_name(name)
    try:
        return file, JudgeOverrides.model_validate(given).given()
    except ValidationError as error:
        item = error.errors()[0]
        raise UserError(
            f"{name}: {'.'.join(map(str, item['loc']))}: {item['msg']}; expected NAME:KEY=VALUE,..."
        ) from None


def _plain_name(name: str) -> str:
    """Return what a judge is called: its name as given, without folders and ending."""
    file, colon, suffix = name.partition(":")
    return f"{Path(file).name.removesuffix('.yaml')}{colon}{suffix}"


def _override(tree: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Replace a file's values, of the keys that its kind has."""
    if tree.get("kind") == "panel" and "skip_when_both_below" in overrides:
        tree["skip_when_both_below"] = overrides["skip_when_both_below"]
    if tree.get("kind") != "llm":
        return
    if "reasoning" in overrides:
        tree["reasoning"] = overrides["reasoning"]
    if "backend" in overrides:
        tree["backend"] = overrides["backend"].model_dump(exclude_unset=True)
    elif "model" in overrides:
        backend = tree.get("backend")
        tree["backend"] = {**(backend if isinstance(backend, dict) else {"type": "vllm"}), "model": overrides["model"]}
