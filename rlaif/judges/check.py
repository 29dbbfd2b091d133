"""What is wrong with a judge file or a prompt file, with the file and the line of each fault.

Invariant: a file without a finding loads, tells the two answers apart, has each of its labels read as what it stands
for, and shows what all questions on a prompt share before anything that differs.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlaif.chat import Messages
from rlaif.errors import Fault, UserError
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import read_text
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.prompts.front_matter import AnswerFrontMatter, PairwiseLabel, captured_part
from rlaif.prompts.parsing import choices_of
from rlaif.prompts.template import PromptTemplate, load_forms


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault.

    Attributes:
        path: of the file, as it was found.
        line: from 1; 1 where the fault is of the whole file.
        message: what is wrong and what was expected.
    """

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


def check_judge(name: str) -> list[Finding]:
    """Return the faults of a judge file with all that it names, or of a prompt file; nothing is asked.

    Args:
        name: path or name of a judge, or of a prompt; a path that ends in `.md` is a prompt's, and a name that is both
            is the judge's.

    Raises:
        UserError: there is no such file.
    """
    file, _, overrides = name.partition(":")
    path = _find(file)
    try:
        if path.suffix == ".md":
            findings = [finding for form in load_forms(path.absolute()) for finding in _rendering_faults(form, "R", ())]
        else:
            spec = load_judge_file(f"{path.absolute()}:{overrides}")
            findings = [
                finding
                for leaf in spec.leaves
                if isinstance(leaf, LlmSpec)
                for form in load_forms(leaf.template.path)
                for finding in _rendering_faults(form, leaf.rubric or "R", leaf.all_principles)
            ]
    except UserError as error:
        return _findings(error, path)
    return list(dict.fromkeys(findings))


def _find(name: str) -> Path:
    if name.endswith(".md"):
        return find_resource("prompts", name)
    try:
        return find_resource("judges", name)
    except UserError as error:
        try:
            return find_resource("prompts", name)
        except UserError:
            raise error from None


def _findings(error: UserError, path: Path) -> list[Finding]:
    faults = error.faults or (Fault(str(path), str(error)),)
    return [Finding(fault.path, fault.line or 1, fault.message) for fault in faults]


def _rendering_faults(prompt: PromptTemplate, rubric: str, principles: tuple[str, ...]) -> list[Finding]:
    if isinstance(prompt.front_matter, AnswerFrontMatter):
        return []
    findings = []
    if isinstance(prompt.front_matter, PairwiseLabel):
        findings += _label_faults(prompt, prompt.front_matter)
    names = ("answer_a", "answer_b") if prompt.front_matter.kind == "pairwise" else ("answer",)
    shared = {"question": "Q", "context": "C", "reference": "F", "rubric": rubric}
    # Each value is found again by its first line's mark; answers and principles differ in their first character.
    shared = {key: f"<{key}> {value}" for key, value in shared.items()}
    one = {name: f"{index} answer" for index, name in enumerate(names)}
    other = {name: f"{index + 5} answer" for index, name in enumerate(names)}
    drawn = ({"principle": f"0 {principles[:1]}"}, {"principle": f"1 {principles[:1]}"})
    extra = drawn if "principle" in prompt.uses else ({}, {})
    try:
        first = _text(prompt.render(**shared, **one, **extra[0]))
        second = _text(prompt.render(**shared, **other, **extra[1]))
        swapped = _text(prompt.render(**shared, **dict(zip(names, list(one.values())[::-1], strict=True)), **extra[0]))
    except UserError as error:
        return [*findings, *_findings(error, prompt.path)]
    if prompt.front_matter.kind == "pairwise" and first == swapped:
        message = "both orders of the answers render alike, so the judge cannot tell which is which"
        findings.append(Finding(str(prompt.path), _line(prompt, "answer_a"), message))
    return [*findings, *_order_faults(prompt, shared, _common_beginning(first, second), first)]


def _order_faults(prompt: PromptTemplate, shared: Mapping[str, str], beginning: str, text: str) -> list[Finding]:
    """Return which variables that all questions on a prompt share stand after one that differs."""
    return [
        Finding(
            str(prompt.path),
            _line(prompt, name),
            f"{name} stands after an answer or a principle; expected it before: what all questions on a prompt share "
            "stands first, so that an engine computes it once",
        )
        for name, value in shared.items()
        if name in prompt.uses and _mark(value) in text and _mark(value) not in beginning
    ]


def _label_faults(prompt: PromptTemplate, front: PairwiseLabel) -> list[Finding]:
    """Return which labels are not read as what they stand for, where the expression's plainest match tells."""
    findings = []
    for label, reading in choices_of(front.labels, front.tie_label).items():
        said = _plainest_match(front.label, label)
        if said is not None and front.of_text(said) != reading:
            message = f"label: {said!r} is not read as {label}; expected each of the labels to be reachable"
            findings.append(Finding(str(prompt.path), _line(prompt, "label", front_matter=True), message))
    return findings


_ATOM = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]])*\]|.", re.DOTALL)


def _plainest_match(expression: str, label: str) -> str | None:
    """Return a text that an expression matches with a label in its group, or None where none is easily made.

    >>> _plainest_match(r"(?i)verdict:\\s*\\[\\[([AB])\\]\\]", "A")
    'verdict:[[A]]'
    """
    part = captured_part(expression)
    if part is None:
        return None
    before, _, after = expression.partition(f"({part})")
    said = _plain(re.sub(r"^\(\?[a-zA-Z]+\)", "", before)) + label + _plain(after)
    return said if re.search(expression, said) else None


def _plain(expression: str) -> str:
    """Return the text of an expression whose optional parts are left out and whose escapes stand for themselves."""
    atoms = [match.group() for match in _ATOM.finditer(expression)]
    text = ""
    for index, atom in enumerate(atoms):
        following = atoms[index + 1] if index + 1 < len(atoms) else ""
        if following in ("*", "?") or atom in ("*", "?", "+", "^", "$", "\\b"):
            continue
        text += atom[1:] if len(atom) == 2 and atom[0] == "\\" else atom
    return text


def _text(messages: Messages) -> str:
    return "\0".join(message["content"] for message in messages)


def _common_beginning(first: str, second: str) -> str:
    same = next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    return first[:same]


def _mark(value: str) -> str:
    return value.partition(" ")[0]


def _line(prompt: PromptTemplate, name: str, *, front_matter: bool = False) -> int:
    """Return the line of a prompt file on which a key or a variable first stands."""
    lines = read_text(prompt.path).split("\n")
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == "---"), 0)
    places = range(1, end) if front_matter else range(end + 1, len(lines))
    word = re.compile(rf"^{name}:" if front_matter else rf"\b{name}\b")
    return next((number + 1 for number in places if word.search(lines[number])), 1)
