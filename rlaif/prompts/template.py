"""A prompt file: YAML front matter that says how it is used, then Jinja2 with the blocks `system` and `user`.

Invariant: what a prompt renders to is a function of the file's front matter and template (its sha256) and of the
variables alone, and a variable's value is never read as template syntax nor as the marker of a role.
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
from rlaif.errors import Fault, UserError
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import parse_mapping, read_text, validated
from rlaif.prompts.front_matter import FRONT_MATTER, FrontMatter
from rlaif.prompts.quoting import quoted, without_role_markers


class Variables(NamedTuple):
    """What a kind of prompt is given: each `required` one stands in the template; an `optional` one may be ""."""

    required: tuple[str, ...]
    optional: tuple[str, ...]


VARIABLES: Mapping[str, Variables] = {
    "answer": Variables(("question",), ("context",)),
    "pairwise": Variables(("question", "answer_a", "answer_b"), ("context", "reference", "rubric", "principle")),
    "pointwise": Variables(("question", "answer"), ("context", "reference", "rubric")),
}

_BLOCKS = ("system", "user")
_FENCE = "---"
# What a user's expression can raise besides Jinja's own errors: `question + 1`, `question[99]`, `1 / 0`.
_TEMPLATE_FAULTS = (TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError)


@dataclass(frozen=True)
class PromptTemplate:
    """A checked prompt file.

    Attributes:
        name: the file's name without its ending.
        path: of the file.
        front_matter: how it is used.
        sha: sha256 of what decides its output: front matter and template, not YAML comments or the name.
        uses: the variables that stand in the template.
    """

    name: str
    path: Path
    front_matter: FrontMatter
    sha: str
    uses: frozenset[str]
    _template: Template = field(repr=False, compare=False)

    @property
    def kind(self) -> str:
        """What the prompt is for; decides its variables (`VARIABLES`)."""
        return self.front_matter.kind

    def render(self, **variables: str) -> Messages:
        """Return the chat: a system message where that block is not empty, then the user's.

        Args:
            variables: those of the prompt's kind; an optional one that is left out is "".

        Raises:
            UserError: the template fails on these values.
            ValueError: a variable is missing, or not of the prompt's kind.
        """
        known = VARIABLES[self.kind]
        if wrong := set(variables) - set(known.required + known.optional) | set(known.required) - set(variables):
            raise ValueError(f"a prompt of kind {self.kind} takes {known.required + known.optional}; wrong: {wrong}")
        values = dict.fromkeys(known.optional, "")
        values.update((name, without_role_markers(value)) for name, value in variables.items())
        messages = []
        for role in _BLOCKS:
            if content := self._block(role, values):
                messages.append({"role": role, "content": content})
        return messages

    def _block(self, role: str, values: dict[str, str]) -> str:
        if role not in self._template.blocks:
            return ""
        try:
            context = self._template.new_context(dict(values))
            return "".join(self._template.blocks[role](context)).strip()
        except _TEMPLATE_FAULTS as error:
            # The innermost frame of the compiled template tells the line of the file.
            frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
            line = self._template.get_corresponding_lineno(frames[-1].lineno or 1) if frames else 1
            raise UserError(f"{self.path}:{line}: block {role}: {error}") from None


def load_template(name: str, beside: Path | None = None) -> PromptTemplate:
    """Read and check a prompt file.

    Args:
        name: its path, or the name of a prompt in `./prompts` or the installed ones.
        beside: a file whose folder a relative path may also start from.

    Raises:
        UserError: with the file, the line and what was expected.
    """
    path = find_resource("prompts", name, beside)
    origin = str(path)
    lines = read_text(path).split("\n")
    if lines[0].rstrip() != _FENCE:
        raise UserError(f"{origin}:1: no front matter; expected --- on the first line, then kind: answer or the like")
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == _FENCE), None)
    if end is None:
        raise UserError(f"{origin}:1: the front matter has no end; expected a second line of ---")
    front_matter = validated(FRONT_MATTER, parse_mapping("\n".join(lines[1:end]), origin, first_line=2))
    body = "\n".join(lines[end + 1 :]).strip("\n")
    # Empty lines in the front matter's place: Jinja then counts the lines of the file.
    template, used = _compile("\n" * (end + 1) + "\n".join(lines[end + 1 :]), front_matter.kind, origin, end + 2)
    # Without defaults, so that a field that a later version adds leaves the sha256 of today's files as it is.
    fields = json.dumps(front_matter.model_dump(mode="json", exclude_defaults=True), sort_keys=True, ensure_ascii=False)
    sha = hashlib.sha256(f"{fields}\0{body}".encode()).hexdigest()
    prompt = PromptTemplate(path.stem, path, front_matter, sha, used, template)
    _try_out(prompt, end + 2)
    return prompt


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.globals.clear()
    # The one filter that would make two renderings of the same values differ.
    del environment.filters["random"]
    environment.filters["quoted"] = quoted
    return environment


def _compile(source: str, kind: str, origin: str, first_line: int) -> tuple[Template, frozenset[str]]:
    """Return the template, checked, and the variables it shows."""
    environment = _environment()
    try:
        tree = environment.parse(source)
        template = environment.from_string(source)
    except TemplateSyntaxError as error:
        raise UserError(f"{origin}:{error.lineno}: {error.message}") from None
    faults = _block_faults(tree.body, origin)
    for node in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        problem = "a prompt is one file; include, import and extends are not known here"
        faults.append(Fault(origin, problem, node.lineno))
    if "user" not in template.blocks:
        expected = "{% block user %} ... {% endblock %}"
        faults.append(Fault(origin, "no block user", first_line, expected=expected))
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
    """Return what would never be rendered: text outside the two blocks, and blocks of another name."""
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
            raise UserError(f"{prompt.path}:{first_line}: block user renders to nothing; expected the question in it")
