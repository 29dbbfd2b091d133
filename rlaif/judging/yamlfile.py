"""YAML that a person writes, held to a pydantic model: one message with the file, the line and the key of a fault."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from rlaif.errors import UserError

T = TypeVar("T")
KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping as it stands in a file.

    Attributes:
        origin: the file, for messages.
        tree: the mapping's values.
        lines: line of the file on which each key stands, from 1; `()` is the mapping itself.
    """

    origin: str
    tree: dict[str, Any]
    lines: Mapping[KeyPath, int]

    def at(self, path: KeyPath) -> str:
        """Return `file:line` of a key, or of the nearest one above it that the file has."""
        while path not in self.lines:
            path = path[:-1]
        return f"{self.origin}:{self.lines[path]}"


def read_text(path: Path) -> str:
    """Return a text file's content with `\\n` line ends, or raise UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None


def parse_mapping(text: str, origin: str, first_line: int = 1) -> YamlMapping:
    """Parse a YAML mapping.

    Args:
        text: the YAML.
        origin: names the file in messages.
        first_line: line of the file on which `text` begins.

    Raises:
        UserError: not YAML, not a mapping, or a key that stands twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = first_line + (mark.line if mark else 0)
        raise UserError(f"{origin}:{line}: not YAML: {getattr(error, 'problem', None) or error}") from None
    except (ValueError, RecursionError) as error:
        # A date that does not exist, or brackets without end.
        raise UserError(f"{origin}:{first_line}: not YAML: {error}") from None
    if not isinstance(node, yaml.MappingNode) or not isinstance(tree, dict):
        raise UserError(f"{origin}:{first_line}: expected keys with values, such as kind: ...")
    lines: dict[KeyPath, int] = {(): first_line}
    _collect(node, (), lines, origin, first_line)
    return YamlMapping(origin, tree, lines)


def validated(adapter: TypeAdapter[T], mapping: YamlMapping) -> T:
    """Hold a mapping to a model or a union of models told apart by `kind`.

    Raises:
        UserError: one `file:line: key: what was expected` for each fault.
    """
    try:
        return adapter.validate_python(mapping.tree)
    except ValidationError as error:
        # A discriminated union puts its tag before the path; the person's file has no such key.
        tag = mapping.tree.get("kind")
        faults = []
        for item in error.errors():
            loc = tuple(item["loc"])
            path = loc[1:] if loc and loc[0] == tag else loc
            faults.append(_message(mapping, path, item))
        raise UserError("; ".join(faults)) from None


def _collect(node: yaml.Node, path: KeyPath, lines: dict[KeyPath, int], origin: str, first_line: int) -> None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            inner = (*path, str(key.value))
            line = first_line + key.start_mark.line
            if inner in lines:
                raise UserError(f"{origin}:{line}: {'.'.join(map(str, inner))}: stands twice")
            lines[inner] = line
            _collect(value, inner, lines, origin, first_line)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*path, index)] = first_line + value.start_mark.line
            _collect(value, (*path, index), lines, origin, first_line)


def _message(mapping: YamlMapping, path: KeyPath, item: Any) -> str:
    given = f" (got {item['input']!r})" if not isinstance(item["input"], dict) else ""
    if item["type"] == "union_tag_invalid":
        expected, tag = item["ctx"]["expected_tags"], item["ctx"]["tag"]
        return f"{mapping.at(('kind',))}: kind: expected one of {expected} (got {tag!r})"
    if item["type"] == "union_tag_not_found":
        return f"{mapping.at(())}: kind: missing; expected a value"
    key = ".".join(map(str, path))
    where = f"{mapping.at(path)}: {key}: " if key else f"{mapping.at(path)}: "
    if item["type"] == "extra_forbidden":
        return f"{where}unknown key"
    if item["type"] == "missing":
        return f"{where}missing; expected a value"
    if isinstance(item["input"], bool) and item["type"] == "string_type":
        return f"{where}YAML reads yes, no, on and off as true or false; expected a text in quotes{given}"
    text = str(item["msg"]).removeprefix("Value error, ")
    if text.startswith("Input should be "):
        text = "expected " + text.removeprefix("Input should be ")
    return f"{where}{text[:1].lower()}{text[1:]}{given}"
