"""Writes the generated parts of the pages, so that each fact is said once, in the code: `make docs`.

A generated part lies between `<!-- NAME ARGUMENT... -->` and `<!-- end -->`. The rest of a page is written by hand.
"""

import ast
import importlib
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

ROOT = Path(__file__).parents[1]
PAGES = tuple(f"docs/{name}.md" for name in ("recipes", "objectives", "judges", "architecture", "data", "people"))
_WRITTEN = "keys|own|renamed|figures|variables|packages|layers|reasons|containers|fields"
_PART = re.compile(rf"(<!-- (?P<words>(?:{_WRITTEN})\b[^>]*?) -->\n).*?(<!-- end -->)", re.S)
_NAMES = {str: "string", int: "integer", float: "number", bool: "true or false"}
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


def fill(page: str) -> str:
    """Return a page with its generated parts written anew."""

    def written(part: re.Match[str]) -> str:
        name, *arguments = part["words"].split()
        return f"{part[1]}\n{_PARTS[name](*arguments)}\n\n{part[3]}"

    return _PART.sub(written, page)


def keys(path: str, *prefixes: str) -> str:
    """Return the table of a section's keys.

    Args:
        path: the section's class, `module.Class`.
        prefixes: dotted paths that have the section; none for the keys by themselves.
    """
    module, _, name = path.rpartition(".")
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    rows = [
        (
            ", ".join(f"`{prefix}.{key}`" for prefix in prefixes) or f"`{key}`",
            type_text(field),
            default_text(field),
            _meaning(field.description or ""),
        )
        for key, field in model.model_fields.items()
        if not _is_section(field.annotation) and not _is_tag(field)
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def own(path: str) -> str:
    """Return the table of the keys that a section has beside those of the class that it extends, or otherwise."""
    module, _, name = path.rpartition(".")
    model: type[BaseModel] = getattr(importlib.import_module(module), name)
    (base,) = model.__bases__
    inherited = getattr(base, "model_fields", {})
    rows = [
        (f"`{key}`", type_text(field), default_text(field), _meaning(field.description or ""))
        for key, field in model.model_fields.items()
        if not _is_tag(field) and not _is_section(field.annotation) and _differs(field, inherited.get(key))
    ]
    return _table(("key", "type", "default", "meaning"), rows)


def _differs(field: FieldInfo, other: FieldInfo | None) -> bool:
    return other is None or (field.default, field.description) != (other.default, other.description)


def renamed(*paths: str) -> str:
    """Return the table of old names that are still accepted, from the tables at `module.NAME`."""
    tables = [getattr(importlib.import_module(path.rpartition(".")[0]), path.rpartition(".")[2]) for path in paths]
    rows = [
        (f"`{old}`", f"`{old[: old.rfind('.') + 1]}{new.name}`", _values(new))
        for table in tables
        for old, new in table.items()
    ]
    return _table(("old name", "new name", "old and new values"), rows)


def _values(renamed: Any) -> str:
    values = {"null" if old is None else old: json.dumps(new) for old, new in (renamed.values or {}).items()}
    kept = [f"`{old}`: `{new}`" for old, new in values.items()]
    refused = [f"others are refused: expected {renamed.instead}"] if renamed.instead else []
    return ", ".join(kept + refused) or "the same"


def figures(part: str) -> str:
    """Return the table of one part of a judge report's figures."""
    from rlaif.judge_evals.figures import FIGURES

    return _table(
        ("figure", "meaning"), [(f"`{name}`", _meaning(f.meaning)) for name, f in FIGURES.items() if f.part == part]
    )


def variables() -> str:
    """Return the table of the variables that each kind of template may show."""
    from rlaif.prompts.template import VARIABLES

    rows = [
        (f"`{kind}`", *(", ".join(f"`{name}`" for name in names) for names in VARIABLES[kind])) for kind in VARIABLES
    ]
    return _table(("kind", "must show", "may show, and may be empty"), rows)


def packages() -> str:
    """Return the table of the packages and modules: the first lines of each docstring, from the edges down."""
    rows = []
    for name in (name for layer in layer_names() for name in layer):
        files = (ROOT / "rlaif" / name / "__init__.py", ROOT / "rlaif" / f"{name}.py")
        for source in (file for file in files if file.is_file()):
            docstring = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
            rows.append((f"`{name}`", _meaning(docstring.split("\n\n")[0])))
    return _table(("package", "owns"), rows)


def layers() -> str:
    """Return the picture of the layers, from the contract that `make lint` checks."""
    lines = ["```mermaid", "flowchart TD"]
    shown = [" &nbsp; ".join(layer) for layer in layer_names()]
    lines += [f'    L{index}["{text}"]' for index, text in enumerate(shown)]
    lines.append("    " + " --> ".join(f"L{index}" for index in range(len(shown))))
    return "\n".join([*lines, "```"])


def reasons() -> str:
    """Return the table of the reasons for which rows of preferences are left out."""
    from rlaif.data.left_out import REASONS

    return _table(("reason", "rows left out"), [(f"`{name}`", f"those {text}") for name, text in REASONS.items()])


def containers() -> str:
    """Return the table of the files that hold rows, by their endings."""
    from rlaif.io.rows import CONTAINERS

    return _table(("name ends in", "content"), [(f"`{ending}`", what) for ending, (what, _) in CONTAINERS.items()])


def fields(path: str) -> str:
    """Return the table of the fields of one kind of row: of a mapping of meanings, or of a section with docstrings."""
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    if not isinstance(found, Mapping):
        found = {field: info.description or "" for field, info in found.model_fields.items()}
    return _table(("field", "what it holds"), [(f"`{field}`", _meaning(text)) for field, text in found.items()])


def layer_names() -> list[list[str]]:
    """Return the modules of each layer of the import contract, from those that use all others downwards."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (found,) = (c for c in contract["contracts"] if c["type"] == "layers")
    return [[name.strip() for name in re.split("[:|]", layer) if "(" not in name] for layer in found["layers"]]


def type_text(field: FieldInfo) -> str:
    """Return a field's type with its bounds, as a reader of YAML says it."""
    kinds = _union(field.annotation)
    texts = list(dict.fromkeys(_kind_text(kind) for kind in kinds if kind is not NoneType))
    bounds = {name: getattr(item, name) for item in field.metadata for name, _ in _BOUNDS if hasattr(item, name)}
    texts[-1] += "".join(f", {words} {_number(bounds[name])}" for name, words in _BOUNDS if name in bounds)
    if NoneType in kinds:
        texts.append("null")
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])}, or {texts[-1]}"


def default_text(field: FieldInfo) -> str:
    """Return a field's default as YAML, `required` or `empty`."""
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if isinstance(value, BaseModel):
        set_ = value.model_dump(include=value.model_fields_set)
        return f"`{{{', '.join(f'{key}: {item}' for key, item in set_.items())}}}`"
    if value in ("", (), {}):
        return "empty"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{json.dumps(value)}`" if value is None or isinstance(value, bool) else f"`{value}`"


def _union(annotation: Any) -> tuple[Any, ...]:
    found = get_origin(annotation)
    if found is Annotated:
        return _union(get_args(annotation)[0])
    if found is None or found in (list, tuple, dict, Literal):
        return (annotation,)
    return tuple(kind for item in get_args(annotation) for kind in _union(item))


def _kind_text(kind: Any) -> str:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        choices = [f"`{choice}`" for choice in arguments]
        return " or ".join(choices) if len(choices) < 3 else f"one of {', '.join(choices)}"
    if origin is tuple and Ellipsis not in arguments:
        return f"list of {['no', 'one', 'two', 'three'][len(arguments)]} {_NAMES[arguments[0]]}s"
    if origin in (list, tuple):
        items = ["section" if _is_section(item) else _NAMES[item] for item in _union(arguments[0])]
        items = list(dict.fromkeys(items))
        return f"list of {' or '.join(f'{item}s' for item in items)}"
    if origin is dict:
        return "mapping"
    return "section" if _is_section(kind) else _NAMES[kind]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_tag(field: FieldInfo) -> bool:
    """Whether a field only says which section this is: one literal, or a choice of sections that has no docstring."""
    kinds = _union(field.annotation)
    one_literal = get_origin(kinds[0]) is Literal and len(get_args(kinds[0])) == 1
    return one_literal or (field.description is None and all(map(_is_section, kinds)))


def _number(value: float) -> str:
    return "2^31" if value == 2**31 else str(value)


def _meaning(text: str) -> str:
    line = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", line)


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" if cells[0] != "---" else "|---" * len(cells) + "|" for cells in lines)


_PARTS: dict[str, Callable[..., str]] = {
    part.__name__: part
    for part in (keys, own, renamed, figures, variables, packages, layers, reasons, containers, fields)
}  # fmt: skip


def differing() -> Iterator[tuple[Path, str]]:
    """Yield the pages that are not as they would be written, with that text."""
    for name in PAGES:
        path = ROOT / name
        page = path.read_text(encoding="utf-8")
        if (wanted := fill(page)) != page:
            yield path, wanted


def main() -> None:
    """Write the pages that differ."""
    for path, page in differing():
        path.write_text(page, encoding="utf-8")
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
