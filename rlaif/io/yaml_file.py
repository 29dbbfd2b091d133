"""YAML 1.2 that a person writes, checked by a pydantic model; every fault names the file, the line and the key.

Invariant: a duplicate key is an error, and each key keeps the place where it was written, be it a file or `--set`.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from rlaif import errors
from rlaif.errors import Fault, UserError
from rlaif.io.renamed import Renamed, new_name, warn_renamed
from rlaif.io.validation import pydantic_fault

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
Place = tuple[str, int | None]
"""A file or an option, and the line, from 1."""


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping and where it was written.

    Attributes:
        tree: the values.
        places: of each key; `()` is the mapping itself.
        renamed: new names by dotted old key; see `rename`.
    """

    tree: dict[str, Any]
    places: dict[KeyPath, Place]
    renamed: Mapping[str, Renamed]

    def fault(self, key: KeyPath, problem: str = "", expected: str = "", found: str = "") -> Fault:
        """Return a fault of a key, at the place of the key or of the nearest section above it."""
        path, line = self._place(key)
        return Fault(path, problem, line, field=".".join(map(str, key)), expected=expected, found=found)

    def at(self, key: KeyPath) -> str:
        """Return `file:line` of a key or of the nearest section above it."""
        return self.fault(key).place

    def override(self, setting: str) -> None:
        """Set `a.b=value`, the value in YAML, and create the sections on the way.

        Raises:
            UserError: the setting is malformed, or goes through a value that is not a section.
        """
        dotted, equals, text = setting.partition("=")
        parts = tuple(part.strip() for part in dotted.strip().split("."))
        if not equals or not all(parts):
            raise UserError(f"--set {setting}: expected KEY=VALUE with a dotted key, such as training.beta=0.2")
        try:
            value = _yaml().load(text)
        except (YAMLError, ValueError, RecursionError):
            raise UserError(f"--set {setting}: the value is not YAML") from None
        node, key = self.tree, tuple[str, ...]()
        for index, part in enumerate(parts):
            if renamed := new_name((*key, part), self.renamed):
                warn_renamed("--set", ".".join((*key, part)), ".".join((*key, renamed.name)))
                if index == len(parts) - 1:
                    value = renamed.value(value, Fault("--set", field=dotted))
                part = renamed.name
            key = (*key, part)
            if index == len(parts) - 1:
                node[part] = value
                self._move(key, None)
                self.places[key] = ("--set", None)
                self.rename(key, value)
                return
            if node.get(part) is None:
                node[part] = {}
            if not isinstance(node[part], dict):
                raise UserError(f"--set {setting}: {part} holds a value, not a section")
            node = node[part]

    def replace(self, section: str, other: "YamlMapping") -> None:
        """Take a section of another mapping, with its places, instead of this mapping's own."""
        self._move((section,), None)
        self.tree[section] = other.tree[section]
        self.places.update({key: place for key, place in other.places.items() if key[:1] == (section,)})

    def rename(self, key: KeyPath = (), node: Any = None) -> None:
        """Replace the old names of keys by the new ones, below a key, with a `RenamedWarning` for each.

        Raises:
            UserError: a section has both names of a key, or an old value has no new one.
        """
        node = self.tree if not key else node
        if isinstance(node, list):
            for index, item in enumerate(node):
                self.rename((*key, index), item)
        if not isinstance(node, dict):
            return
        for old in list(node):
            path = (*key, old)
            if renamed := new_name(tuple(map(str, path)), self.renamed):
                if renamed.name in node:
                    problem = f"is the old name of {renamed.name}, which is given too"
                    raise UserError(self.fault(path, problem, "one of the two"))
                new = (*key, renamed.name)
                warn_renamed(self.at(path), ".".join(map(str, path)), ".".join(map(str, new)))
                node[renamed.name] = renamed.value(node.pop(old), self.fault(path))
                self._move(path, new)
                path, old = new, renamed.name
            self.rename(path, node[old])

    def _place(self, key: KeyPath) -> Place:
        while key not in self.places:
            key = key[:-1]
        return self.places[key]

    def _move(self, old: KeyPath, new: KeyPath | None) -> None:
        """Give the places below one key to another, or drop them."""
        for key in [key for key in self.places if key[: len(old)] == old]:
            place = self.places.pop(key)
            if new is not None:
                self.places[(*new, *key[len(old) :])] = place


def read_text(path: Path) -> str:
    """Return a text file's content with `\\n` line ends, or raise UserError if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(Fault(str(path), f"not UTF-8 at byte {error.start}")) from None
    except FileNotFoundError:
        raise UserError(Fault(str(path), "no such file")) from None
    except OSError as error:
        raise UserError(Fault(str(path), f"cannot be read: {error.strerror}")) from None


def parse_mapping(
    text: str, origin: str, first_line: int = 1, renamed: Mapping[str, Renamed] | None = None
) -> YamlMapping:
    """Parse a YAML mapping.

    Args:
        text: the YAML.
        origin: names the file in messages.
        first_line: line of the file on which `text` begins.
        renamed: new names by dotted old key, `*` for any one part; they replace the old ones.

    Raises:
        UserError: not YAML, not a mapping, or a duplicate key.
    """
    yaml = _yaml()
    places: dict[KeyPath, Place] = {(): (origin, first_line)}
    try:
        node = yaml.compose(text)
        _collect(node, (), places, first_line)
        tree = yaml.constructor.construct_document(node) if isinstance(node, MappingNode) else None
    except YAMLError as error:
        mark = error.problem_mark if isinstance(error, MarkedYAMLError) else None
        problem = (error.problem if isinstance(error, MarkedYAMLError) else None) or errors.first_line(error)
        raise UserError(Fault(origin, f"not YAML: {problem}", first_line + (mark.line if mark else 0))) from None
    except (ValueError, RecursionError) as error:
        # A date that does not exist, or endless brackets.
        raise UserError(Fault(origin, f"not YAML: {errors.first_line(error)}", first_line)) from None
    if tree is None:
        raise UserError(Fault(origin, line=first_line, expected="keys with values: a YAML mapping"))
    mapping = YamlMapping(tree, places, renamed or {})
    mapping.rename()
    return mapping


def read_mapping(path: Path, renamed: Mapping[str, Renamed] | None = None) -> YamlMapping:
    """Read a file that holds a YAML mapping; see `parse_mapping`."""
    return parse_mapping(read_text(path), str(path), renamed=renamed)


def dump_yaml(value: Any) -> str:
    """Return a value of plain types as YAML that readers of versions 1.1 and 1.2 understand alike."""
    yaml, stream = _yaml(), io.StringIO()
    yaml.width = 10_000  # A value stays on its key's line.
    yaml.version = (1, 1)  # Writes 1.0e-06, not 1e-06, and quotes words such as yes.
    yaml.dump(value, stream)
    return stream.getvalue().removeprefix("%YAML 1.1\n---\n")


def validated(adapter: TypeAdapter[T], mapping: YamlMapping, context: Any = None) -> T:
    """Check a mapping against a model, or a union of models that a key such as `kind` discriminates.

    Args:
        adapter: of the model or union.
        mapping: to check.
        context: the models' validation context.

    Raises:
        UserError: with every fault.
    """
    try:
        return adapter.validate_python(mapping.tree, context=context)
    except ValidationError as error:
        raise UserError(*(_fault(mapping, item) for item in error.errors())) from None


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # `_collect` refuses them, with the whole key.
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # Typed as None there.
    yaml.allow_unicode = True
    return yaml


def _collect(node: Node | None, key: KeyPath, places: dict[KeyPath, Place], first_line: int) -> None:
    """Record the place of each key below a node; raise UserError for a duplicate key."""
    origin = places[()][0]
    if isinstance(node, MappingNode):
        for name, value in node.value:
            inner, line = (*key, str(name.value)), first_line + name.start_mark.line
            if inner in places:
                raise UserError(Fault(origin, "duplicate key", line, field=".".join(map(str, inner))))
            places[inner] = (origin, line)
            _collect(value, inner, places, first_line)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            places[(*key, index)] = (origin, first_line + value.start_mark.line)
            _collect(value, (*key, index), places, first_line)


def _fault(mapping: YamlMapping, item: Any) -> Fault:
    words, key = pydantic_fault(item), _without_tags(mapping, item["loc"])
    if words.field:
        key = (*key, words.field)
    return mapping.fault(key, words.problem, words.expected, words.found)


# The discriminators, in the order in which unions of unions use them.
_TAG_KEYS = ("kind", "verdict", "type")


def _without_tags(mapping: YamlMapping, loc: KeyPath) -> KeyPath:
    """Return a location without the tags that pydantic adds for discriminated unions."""
    key: KeyPath = ()
    rest, node = list(loc), mapping.tree
    while True:
        for tag in _TAG_KEYS:
            if rest and isinstance(node, dict) and rest[0] == node.get(tag):
                rest.pop(0)
        if not rest:
            return key
        part: Any = rest.pop(0)
        key = (*key, part)
        try:
            node = node[part]
        except (KeyError, IndexError, TypeError):
            return (*key, *rest)
