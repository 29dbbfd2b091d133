"""Finds what users read, copy and swap: judges, prompts and recipes, by path or by name.

A name is looked for in the working directory's own folder first, so that a copy shadows the installed one.
"""

from pathlib import Path

from rlaif.errors import UserError

_ENDINGS = {"judges": ".yaml", "prompts": ".md", "recipes": ".yaml"}


def resource_folders(kind: str) -> list[Path]:
    """Return the folders that hold `kind` (judges, prompts or recipes), the user's own first."""
    package = Path(__file__).parents[1]
    # In a wheel the folders are package data under rlaif/shipped; in a checkout they stand beside the package.
    candidates = [Path.cwd() / kind, package / "shipped" / kind, package.parent / kind]
    folders: dict[Path, Path] = {}
    for folder in filter(Path.is_dir, candidates):
        folders.setdefault(folder.resolve(), folder)
    return list(folders.values())


def find_resource(kind: str, name: str, beside: Path | None = None) -> Path:
    """Return the file of a judge, prompt or recipe.

    Args:
        kind: `judges`, `prompts` or `recipes`.
        name: a path (it has a separator or the kind's ending), or a bare name.
        beside: a file whose folder a relative path may also start from.
    """
    ending = _ENDINGS[kind]
    if "/" in name or name.endswith(ending):
        for start in [Path.cwd(), *([beside.parent] if beside else [])]:
            if (path := start / name).is_file():
                return path
        if "/" in name:
            raise UserError(f"{name}: no such file")
        name = name.removesuffix(ending)
    for folder in resource_folders(kind):
        if (path := folder / f"{name}{ending}").is_file():
            return path
    known = ", ".join(list_resources(kind)) or "none"
    raise UserError(f"{name}: no {kind.removesuffix('s')} by that name or path; those here: {known}")


def list_resources(kind: str) -> list[str]:
    """Return the names of all judges, prompts or recipes that `find_resource` would find, sorted."""
    return sorted({path.stem for folder in resource_folders(kind) for path in folder.glob(f"*{_ENDINGS[kind]}")})
