"""A prompt file: YAML front matter, then Jinja2 with the blocks `system` and `user`.

A file may have two forms: one asks for the verdict alone, the other for reasons before it. Each form has the front
matter, the text and the sha256 of the file that one would write for it alone.

Invariant: a template's output depends only on the file's front matter and text (its sha256) and on the variables, and a
variable's value is never read as template syntax or as the marker of a role.
"""

import hashlib
import json
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from rlaif.chat import Messages
from rlaif.errors import Fault, UserError, shown
from rlaif.io.renamed import current_name
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import YamlMapping, parse_mapping, read_text, validated
from rlaif.prompts.front_matter import FRONT_MATTER, RENAMED, FrontMatter
from rlaif.prompts.quoting import quoted, without_role_markers


class Variables(NamedTuple):
    """A template of a kind shows each `required` variable; an `optional` one may be ""."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


VARIABLES: Mapping[str, Variables] = {
    "answer": Variables(("question",), ("context",)),
    "pairwise": Variables(("question", "answer_a", "answer_b"), ("context", "reference", "rubric", "principle")),
    "pointwise": Variables(("question", "answer"), ("context", "reference", "rubric", "criteria")),
}

_BLOCKS = ("system", "user")
_FENCE = "---"
_REASONING = "reasoning"
"""The section of the front matter for the form with reasons, and the variable in the tags."""
_ON, _OFF, _ELSE, _END = (
    re.compile(rf"\s*\{{%\s*{words}\s*%\}}\s*") for words in ("if reasoning", "if not reasoning", "else", "endif")
)
_OPENS, _CLOSES = re.compile(r"\{%[-+]?\s*if\b"), re.compile(r"\{%[-+]?\s*endif\b")
_DROPPED = "{##}"
"""Replaces a line of the other form: it renders to nothing, and later lines keep their numbers."""
# Expressions such as `question + 1`, `question[99]` and `1 / 0` raise these besides Jinja's own errors.
_TEMPLATE_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


@dataclass(frozen=True)
class PromptTemplate:
    """A checked prompt file.

    Attributes:
        name: the file's name without its ending, and `:reasoning` for its form with reasons.
        sha: sha256 of what decides its output: front matter and text, not YAML comments or the name.
        uses: the variables that it shows.
    """

    name: str
    path: Path
    front_matter: FrontMatter
    sha: str
    uses: frozenset[str]
    _template: Template = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        return self.front_matter.kind

    def render(self, **variables: str) -> Messages:
        """Return the chat: a system message if that block is not empty, then the user's.

        An optional variable of the prompt's kind that is missing is ""; UserError is the template's failure on these
        values.
        """
        known = VARIABLES[self.kind]
        if wrong := set(variables) - set(known.required + known.optional) | set(known.required) - set(variables):
            raise ValueError(f"a prompt of kind {self.kind} takes {known.required + known.optional}; wrong: {wrong}")
        values = dict.fromkeys(known.optional, "")
        values.update((name, without_role_markers(value)) for name, value in variables.items())
        contents = {role: self._block(role, values) for role in _BLOCKS}
        return [{"role": role, "content": content} for role, content in contents.items() if content]

    def _block(self, role: str, values: dict[str, str]) -> str:
        if role not in self._template.blocks:
            return ""
        try:
            context = self._template.new_context(dict(values))
            return "".join(self._template.blocks[role](context)).strip()
        except _TEMPLATE_FAULTS as error:
            # The innermost frame of the compiled template has the line of the file.
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
            line = self._template.get_corresponding_lineno(frames[-1].lineno or 1) if frames else 1
            raise UserError(Fault(str(self.path), f"block {role}: {error}", line)) from None


def load_template(name: str, beside: Path | None = None, *, reasoning: bool = False) -> PromptTemplate:
    """Read and check a prompt file.

    Args:
        name: its path, or the name of a prompt in `./prompts` or the installed ones; with `:reasoning`, its form with
            reasons before the verdict, which the argument `reasoning` selects too.
        beside: a file whose folder a relative path may also start from.
    """
    name = current_name("prompts", name)
    file = name.removesuffix(f":{_REASONING}")
    path = find_resource("prompts", file, beside)
    forms = load_forms(path)
    if file == name and not reasoning:
        return forms[0]
    if len(forms) == 1:
        expected = f"a section `{_REASONING}` in its front matter"
        raise UserError(Fault(str(path), "asks for no reasons", expected=expected))
    return forms[1]


def load_forms(path: Path) -> list[PromptTemplate]:
    """Read and check a prompt file; returns its forms: without reasons, and with them where it has that form."""
    origin = str(path)
    lines = read_text(path).split("\n")
    if lines[0].rstrip() != _FENCE:
        expected = "--- on the first line, then kind: answer or the like"
        raise UserError(Fault(origin, "no front matter", 1, expected=expected))
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == _FENCE), None)
    if end is None:
        raise UserError(Fault(origin, "the front matter has no end", 1, expected="a second line of ---"))
    mapping, body = parse_mapping("\n".join(lines[1:end]), origin, 2, RENAMED), lines[end + 1 :]
    if _REASONING not in mapping.tree:
        return [_make(path, path.stem, mapping, body, first_line=end + 2)]
    return [
        _make(
            path,
            f"{path.stem}:{_REASONING}" if reasoning else path.stem,
            _front_matter_of(mapping, reasoning=reasoning),
            _lines_of(body, reasoning=reasoning),
            first_line=end + 2,
        )
        for reasoning in (False, True)
    ]


def _front_matter_of(mapping: YamlMapping, *, reasoning: bool) -> YamlMapping:
    tree = {key: value for key, value in mapping.tree.items() if key != _REASONING}
    if not reasoning:
        return YamlMapping(tree, mapping.locations)
    section = mapping.tree[_REASONING]
    if not isinstance(section, dict):
        raise UserError(mapping.fault((_REASONING,), expected="keys such as verdict", found=shown(section)))
    locations = {key[1:]: location for key, location in mapping.locations.items() if key[:1] == (_REASONING,)}
    return YamlMapping({"kind": tree.get("kind"), **section}, locations)


def _lines_of(lines: Sequence[str], *, reasoning: bool) -> list[str]:
    """Return the lines of one form: those between its tags `{% if reasoning %}`, `{% else %}` and `{% endif %}`.

    Each tag is alone on its line. The tags and the lines of the other form become comments.

    >>> _lines_of(["A", "{% if reasoning %}", "B", "{% else %}", "C", "{% endif %}"], reasoning=True)
    ['A', '{##}', 'B', '{##}', '{##}', '{##}']
    """
    # Of each open `if`, whether its lines are kept; None for one that is not about the form.
    kept: list[bool | None] = []
    found = []
    for line in lines:
        is_tag = True
        if _ON.fullmatch(line) or _OFF.fullmatch(line):
            kept.append(bool(_ON.fullmatch(line)) == reasoning)
        elif kept and kept[-1] is not None and _ELSE.fullmatch(line):
            kept[-1] = not kept[-1]
        elif kept and kept[-1] is not None and _END.fullmatch(line):
            kept.pop()
        else:
            is_tag = False
            opened = len(_OPENS.findall(line)) - len(_CLOSES.findall(line))
            kept += [None] * opened
            del kept[len(kept) + min(opened, 0) :]
        found.append(_DROPPED if is_tag or False in kept else line)
    return found


def _make(path: Path, name: str, mapping: YamlMapping, body: Sequence[str], *, first_line: int) -> PromptTemplate:
    front_matter = validated(FRONT_MATTER, mapping)
    # Empty lines in the front matter's place, so that Jinja counts the lines of the file.
    source = "\n" * (first_line - 1) + "\n".join(body)
    template, used = _compile(source, front_matter.kind, str(path), first_line)
    # Without defaults, so that a field that a later version adds leaves the sha256 of today's files as it is.
    tree = front_matter.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    fields = json.dumps(tree, sort_keys=True, ensure_ascii=False)
    text = "\n".join(line for line in body if line != _DROPPED).strip("\n")
    sha = hashlib.sha256(f"{fields}\0{text}".encode()).hexdigest()
    prompt = PromptTemplate(name, path, front_matter, sha, used, template)
    _try_out(prompt, first_line)
    return prompt


def _compile(source: str, kind: str, origin: str, first_line: int) -> tuple[Template, frozenset[str]]:
    """Return the template, checked, and the variables it shows."""
    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    # The only filter whose output differs between two renderings of the same values.
    del environment.filters["random"]
    environment.filters["quoted"] = quoted
    try:
        tree = environment.parse(source)
        template = environment.from_string(source)
    except TemplateSyntaxError as error:
        raise UserError(Fault(origin, error.message or "not Jinja2", error.lineno)) from None
    faults = _block_faults(tree.body, origin)
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        problem = "a prompt is one file; include, import and extends are not known here"
        faults.append(Fault(origin, problem, node.lineno))
    if "user" not in template.blocks:
        faults.append(Fault(origin, "no block user", first_line, expected="{% block user %} ... {% endblock %}"))
    used, known = meta.find_undeclared_variables(tree), VARIABLES[kind]
    names = known.required + known.optional
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name in used and name.name not in names:
            has = f"a prompt of kind {kind} has {', '.join(names)}"
            faults.append(Fault(origin, f"unknown variable {name.name}; {has}", name.lineno))
    if missing := [name for name in known.required if name not in used]:
        problem = f"{', '.join(missing)} never shown; a prompt of kind {kind} shows each"
        faults.append(Fault(origin, problem, first_line))
    if faults:
        raise UserError(*faults)
    return template, frozenset(used)


def _block_faults(body: Sequence[nodes.Node], origin: str) -> list[Fault]:
    """Return the faults of what is never rendered: text outside the two blocks, and blocks with another name."""
    faults = []
    for node in body:
        if isinstance(node, nodes.Block):
            wrong = [node] if node.name not in _BLOCKS else list(node.find_all(nodes.Block))
            faults += [
                Fault(origin, f"block {block.name}", block.lineno, expected="blocks system and user, side by side")
                for block in wrong
            ]
        elif isinstance(node, nodes.Output):
            faults += [
                Fault(origin, "text outside the blocks system and user", _text_line(part))
                for part in node.nodes
                if not isinstance(part, nodes.TemplateData) or part.data.strip()
            ]
        else:
            faults.append(Fault(origin, "a statement outside the blocks system and user", node.lineno))
    return faults


def _text_line(node: nodes.Node) -> int:
    if not isinstance(node, nodes.TemplateData):
        return node.lineno
    # Jinja gives the line on which the data begins, empty lines included.
    blank = re.match(r"\s*", node.data)
    return node.lineno + (blank.group().count("\n") if blank else 0)


def _try_out(prompt: PromptTemplate, first_line: int) -> None:
    """Render once with all variables and once with the required ones, so that a fault shows before any work."""
    known = VARIABLES[prompt.kind]
    for names in (known.required, known.required + known.optional):
        messages = prompt.render(**dict.fromkeys(names, "x"))
        if not messages or messages[-1]["role"] != "user":
            fault = Fault(str(prompt.path), "block user renders to nothing", first_line, expected="the question in it")
            raise UserError(fault)
