"""YAML 1.2 that a person writes, checked by a pydantic model; every fault names the file, the line and the key.

Invariant: a duplicate key is an error, and each key keeps the location where it was written, be it a file or `--set`.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from rlaif import errors
from rlaif.errors import Fault, UserError, shown
from rlaif.io.renamed import Renames, new_name, warn_renamed

T = TypeVar("T")
KeyPath = tuple[str | int, ...]
Location = tuple[str, int | None]
"""A file or an option, and the line, from 1."""


@dataclass(frozen=True, slots=True)
class YamlMapping:
    """A mapping and where it was written.

    Attributes:
        tree: the values.
        locations: of each key; `()` is the mapping itself.
        renames: the old names of keys that are still accepted.
    """

    tree: dict[str, Any]
    locations: dict[KeyPath, Location]
    renames: Renames = field(default_factory=dict)

    def fault(self, key: KeyPath, problem: str = "", expected: str = "", found: str = "") -> Fault:
        """Return a fault of a key, at the location of the key or of the nearest section above it."""
        written = next(key[:end] for end in range(len(key), -1, -1) if key[:end] in self.locations)
        path, line = self.locations[written]
        return Fault(path, problem, line, field=_dotted(key), expected=expected, found=found)

    def override(self, setting: str) -> None:
        """Set `a.b=value`, the value in YAML, and create the sections on the way."""
        dotted, equals, text = setting.partition("=")
        parts = tuple(part.strip() for part in dotted.strip().split("."))
        if not equals or not all(parts):
            raise UserError(f"--set {setting}: expected KEY=VALUE with a dotted key, such as training.beta=0.2")
        try:
            value = _yaml().load(text)
        except (YAMLError, ValueError, RecursionError):
            raise UserError(f"--set {setting}: the value is not YAML") from None
        node: Any = self.tree
        key: KeyPath = ()
        for index, part in enumerate(parts):
            old = key = (*key, _place(node, part, setting))
            if renamed := new_name(tuple(map(str, old)), self.renames):
                key = (*old[:-1], renamed.name)
                if index == len(parts) - 1:
                    value = renamed.value(value, Fault("--set", field=dotted))
                warn_renamed("--set", _dotted(old), _dotted(key))
            if index == len(parts) - 1:
                break
            node = _below(node, key[-1], setting)
        node[key[-1]] = value
        self._move(key, None)
        self.locations[key] = ("--set", None)
        self.rename(key, value)

    def replace(self, section: str, other: "YamlMapping") -> None:
        """Take a section of another mapping, with its locations, instead of this mapping's own."""
        self._move((section,), None)
        self.tree[section] = other.tree[section]
        self.locations.update({key: location for key, location in other.locations.items() if key[:1] == (section,)})

    def rename(self, key: KeyPath = (), node: Any = None) -> None:
        """Replace the old names of keys by the new ones, below a key."""
        node = self.tree if not key else node
        if isinstance(node, list):
            for index, item in enumerate(node):
                self.rename((*key, index), item)
        if not isinstance(node, dict):
            return
        for old in list(node):
            path = new = (*key, old)
            if renamed := new_name(tuple(map(str, path)), self.renames):
                fault, new = self.fault(path), (*key, renamed.name)
                renamed.refuse_both(node, fault)
                value = renamed.value(node.pop(old), fault)
                warn_renamed(fault.location, fault.field, _dotted(new))
                node[renamed.name] = value
                self._move(path, new)
            self.rename(new, node[new[-1]])

    def _move(self, old: KeyPath, new: KeyPath | None) -> None:
        """Give the locations below one key to another, or drop them."""
        for key in [key for key in self.locations if key[: len(old)] == old]:
            location = self.locations.pop(key)
            if new is not None:
                self.locations[(*new, *key[len(old) :])] = location


def _place(node: Any, part: str, setting: str) -> str | int:
    """Return a part of a dotted key as a key of a mapping, or as the index of an entry that a list has."""
    if not isinstance(node, list):
        return part
    if not part.isdecimal() or int(part) >= len(node):
        raise UserError(f"--set {setting}: {part} is no entry of the list; expected 0 to {len(node) - 1}")
    return int(part)


def _below(node: Any, place: str | int, setting: str) -> Any:
    """Return what a key or an index holds, a new section where it holds nothing."""
    inside = node[place] if isinstance(place, int) else node.get(place)
    if inside is None:
        inside = node[place] = {}
    if not isinstance(inside, dict | list):
        raise UserError(f"--set {setting}: {place} holds a value, not a section")
    return inside


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


def parse_mapping(text: str, origin: str, first_line: int = 1, renames: Renames | None = None) -> YamlMapping:
    """Parse a YAML mapping without duplicate keys, and replace the old names of keys.

    Args:
        text: the YAML.
        origin: names the file in messages.
        first_line: line of the file on which `text` begins.
        renames: the old names of keys that are still accepted.
    """
    yaml = _yaml()
    locations: dict[KeyPath, Location] = {(): (origin, first_line)}
    try:
        node = yaml.compose(text)
        _collect(node, (), locations, first_line)
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
    mapping = YamlMapping(tree, locations, renames or {})
    mapping.rename()
    return mapping


def read_mapping(path: Path, renames: Renames | None = None) -> YamlMapping:
    """Read a file that holds a YAML mapping; see `parse_mapping`."""
    return parse_mapping(read_text(path), str(path), renames=renames)


def dump_yaml(value: Any) -> str:
    """Return a value of plain types as YAML that readers of versions 1.1 and 1.2 understand alike."""
    yaml, stream = _yaml(), io.StringIO()
    yaml.width = 10_000  # A value stays on its key's line.
    yaml.version = (1, 1)  # Writes 1.0e-06, not 1e-06, and quotes words such as yes.
    yaml.dump(value, stream)
    return stream.getvalue().removeprefix("%YAML 1.1\n---\n")


def validated(adapter: TypeAdapter[T], mapping: YamlMapping, context: Any = None) -> T:
    """Check a mapping against a model or a union of models with a discriminator; raise UserError with every fault."""
    try:
        return adapter.validate_python(mapping.tree, context=context)
    except ValidationError as error:
        raise UserError(*(_fault(mapping, item) for item in error.errors())) from None


def pydantic_fault(item: Any) -> Fault:
    """Return one item of `ValidationError.errors()` as a fault without a location.

    Its field is "", or the discriminator that is missing or wrong in the union at the item's location.
    """
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    tag = str(context.get("discriminator", "")).strip("'")
    if kind == "extra_forbidden":
        return Fault("", "unknown key")
    if kind in ("missing", "union_tag_not_found"):
        return Fault("", "missing", field=tag, expected="a value")
    if kind == "union_tag_invalid":
        one_of = "one of " if "," in context["expected_tags"] else ""
        return Fault("", field=tag, expected=f"{one_of}{context['expected_tags']}", found=shown(context["tag"]))
    found = "" if isinstance(value, dict) else shown(value)
    if kind == "string_type" and isinstance(value, (bool, int, float)):
        return Fault("", expected="text; put it in quotes", found=found)
    if kind in ("value_error", "assertion_error"):
        secret = isinstance(context["error"], errors.SecretError)
        return Fault("", str(context["error"]), found="" if secret else found)
    if kind in ("dict_type", "model_type"):
        return Fault("", expected="keys with values", found=found)
    message = str(item["msg"])
    if message.startswith("Input should be "):
        return Fault("", expected=message.removeprefix("Input should be "), found=found)
    return Fault("", message[:1].lower() + message[1:], found=found)


def _yaml() -> YAML:
    yaml = YAML(typ="safe", pure=True)
    yaml.allow_duplicate_keys = True  # `_collect` refuses them, with the whole key.
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # Typed as None there.
    yaml.allow_unicode = True
    return yaml


def _collect(node: Node | None, key: KeyPath, locations: dict[KeyPath, Location], first_line: int) -> None:
    """Record the location of each key below a node; raise UserError for a duplicate key."""
    origin = locations[()][0]
    if isinstance(node, MappingNode):
        for name, value in node.value:
            inner, line = (*key, str(name.value)), first_line + name.start_mark.line
            if inner in locations:
                raise UserError(Fault(origin, "duplicate key", line, field=_dotted(inner)))
            locations[inner] = (origin, line)
            _collect(value, inner, locations, first_line)
    elif isinstance(node, SequenceNode):
        for index, value in enumerate(node.value):
            locations[(*key, index)] = (origin, first_line + value.start_mark.line)
            _collect(value, (*key, index), locations, first_line)


def _fault(mapping: YamlMapping, item: Any) -> Fault:
    words, key = pydantic_fault(item), _without_tags(mapping, item["loc"])
    if words.field:
        key = (*key, words.field)
    return mapping.fault(key, words.problem, words.expected, words.found)


# The discriminators, in the order in which unions of unions use them.
_TAG_KEYS = ("objective", "kind", "verdict", "type")


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


def _dotted(key: KeyPath) -> str:
    return ".".join(map(str, key))
