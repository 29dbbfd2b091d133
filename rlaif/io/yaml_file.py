"""YAML that a person writes, held to a pydantic model: one message with the file, the line and the key of a fault."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import TypeAdapter, ValidationError

from rlaif.errors import UserError

T = TypeVar("T")
KeyPath = tuple[str | int, ...]


class FileFaults(UserError):
    """All that is wrong with a file, as far as it could be read.

    Attributes:
        faults: `file:line: ...` each.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("; ".join(faults))
        self.faults = tuple(faults)


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


def validated(adapter: TypeAdapter[T], mapping: YamlMapping, context: Any = None) -> T:
    """Hold a mapping to a model or a union of models told apart by a key, such as `kind`, or by several in turn.

    `context` is the models' validation context.

    Raises:
        FileFaults: one `file:line: key: what was expected` for each fault.
    """
    try:
        return adapter.validate_python(mapping.tree, context=context)
    except ValidationError as error:
        raise FileFaults([_message(mapping, _path(mapping, item["loc"]), item) for item in error.errors()]) from None


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


# The keys that tell the models of a union apart, in the order in which unions of unions do.
_TAG_KEYS = ("kind", "verdict", "type")


def _path(mapping: YamlMapping, loc: KeyPath) -> KeyPath:
    """Return a fault's place without the tags that discriminated unions put into it; the file has no such keys."""
    path: KeyPath = ()
    rest, node = list(loc), mapping.tree
    while True:
        for key in _TAG_KEYS:
            if rest and isinstance(node, dict) and rest[0] == node.get(key):
                rest.pop(0)
        if not rest:
            return path
        part: Any = rest.pop(0)
        path = (*path, part)
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return (*path, *rest)


def _message(mapping: YamlMapping, path: KeyPath, item: Any) -> str:
    given = f" (got {item['input']!r})" if not isinstance(item["input"], dict) else ""
    if item["type"] == "union_tag_invalid":
        expected, tag = item["ctx"]["expected_tags"], item["ctx"]["tag"]
        key, tag_path = _tag_key(path, item)
        return f"{mapping.at(tag_path)}: {key}: expected {'one of ' if ',' in expected else ''}{expected} (got {tag!r})"
    if item["type"] == "union_tag_not_found":
        return f"{mapping.at(path)}: {_tag_key(path, item)[0]}: missing; expected a value"
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


def _tag_key(path: KeyPath, item: Any) -> tuple[str, KeyPath]:
    """Return the key that tells a union's models apart, dotted and as a path."""
    tag_path = (*path, str(item["ctx"]["discriminator"]).strip("'"))
    return ".".join(map(str, tag_path)), tag_path
