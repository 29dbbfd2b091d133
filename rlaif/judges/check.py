"""What is wrong with a judge file or a prompt file, with the file and the line of each fault.

Invariant: a file without a fault loads, distinguishes the two answers, reads each of its choices as what it means, and
shows what all prompts of a question share before anything that differs.
"""

import re
from dataclasses import replace
from pathlib import Path

from rlaif.chat import Messages
from rlaif.errors import Fault, UserError
from rlaif.io.renamed import current_name
from rlaif.io.resources import find_resource
from rlaif.io.yaml_file import read_text
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.prompts.front_matter import AnswerFrontMatter, PairwiseLabel
from rlaif.prompts.pattern import plainest_match
from rlaif.prompts.template import PromptTemplate, load_forms


def check_judge(name: str) -> list[Fault]:
    """Return the faults of a judge file with all that it names, or of a prompt file, without asking a model.

    Args:
        name: path or name of a judge or prompt file. A path that ends in `.md` is a prompt's; a name that both have is
            the judge's.

    Returns:
        The faults, each with its line; 1 where a fault is of the whole file.
    """
    file, _, overrides = current_name("judges", name).partition(":")
    path = _find(file)
    try:
        if is_prompt(name):
            faults = [fault for form in load_forms(path.absolute()) for fault in _rendering_faults(form, "R", ())]
        else:
            spec = load_judge_file(f"{path.absolute()}:{overrides}")
            faults = [
                fault
                for leaf in spec.leaves
                if isinstance(leaf, LlmSpec)
                for form in load_forms(leaf.template.path)
                for fault in _rendering_faults(form, leaf.rubric or "R", leaf.all_principles)
            ]
    except UserError as error:
        return _faults_of(error, path)
    return list(dict.fromkeys(faults))


def is_prompt(name: str) -> bool:
    """Return whether `check_judge` takes a name for that of a prompt file."""
    return _find(current_name("judges", name).partition(":")[0]).suffix == ".md"


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


def _faults_of(error: UserError, path: Path) -> list[Fault]:
    faults = error.faults or (Fault(str(path), str(error)),)
    return [replace(fault, line=fault.line or 1) for fault in faults]


def _rendering_faults(template: PromptTemplate, rubric: str, principles: tuple[str, ...]) -> list[Fault]:
    if isinstance(template.front_matter, AnswerFrontMatter):
        return []
    faults = []
    if isinstance(template.front_matter, PairwiseLabel):
        faults += _choice_faults(template, template.front_matter)
    names = ("answer_a", "answer_b") if template.front_matter.kind == "pairwise" else ("answer",)
    shared = {"question": "Q", "context": "C", "reference": "F", "rubric": rubric}
    if template.kind == "pointwise":
        shared["criteria"] = "K"
    # Each value is found again by its first line's mark; answers and principles differ in their first character.
    shared = {key: f"<{key}> {value}" for key, value in shared.items()}
    one = {name: f"{index} answer" for index, name in enumerate(names)}
    other = {name: f"{index + 5} answer" for index, name in enumerate(names)}
    drawn = ({"principle": f"0 {principles[:1]}"}, {"principle": f"1 {principles[:1]}"})
    extra = drawn if "principle" in template.uses else ({}, {})
    try:
        first = _text(template.render(**shared, **one, **extra[0]))
        second = _text(template.render(**shared, **other, **extra[1]))
        swapped = _text(
            template.render(**shared, **dict(zip(names, list(one.values())[::-1], strict=True)), **extra[0])
        )
    except UserError as error:
        return [*faults, *_faults_of(error, template.path)]
    if template.front_matter.kind == "pairwise" and first == swapped:
        message = "both orders of the answers render alike, so the judge cannot tell which is which"
        faults.append(Fault(str(template.path), message, _line(template, "answer_a")))
    same = next((index for index, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), None)
    problem = "comes after an answer or a principle"
    expected = "it before them: what all prompts of a question share comes first, so that an engine computes it once"
    faults += [
        Fault(str(template.path), f"{name} {problem}", _line(template, name), expected=expected)
        for name in shared
        if name in template.uses and f"<{name}>" in first and f"<{name}>" not in first[:same]
    ]
    return faults


def _choice_faults(template: PromptTemplate, front_matter: PairwiseLabel) -> list[Fault]:
    """Return the choices that are read as something else, where the plainest match of the pattern shows it."""
    faults = []
    for choice, reading in front_matter.readings.items():
        text = plainest_match(front_matter.pattern, choice)
        if text is not None and front_matter.of_text(text) != reading:
            message = f"pattern: {text!r} is not read as {choice}; expected each of the choices to be reachable"
            faults.append(Fault(str(template.path), message, _line(template, "pattern|label", front_matter=True)))
    return faults


def _text(messages: Messages) -> str:
    return "\0".join(message["content"] for message in messages)


def _line(template: PromptTemplate, name: str, *, front_matter: bool = False) -> int:
    """Return the first line of a prompt file with a variable, or with one of some keys."""
    lines = read_text(template.path).split("\n")
    end = next((number for number, line in enumerate(lines) if number and line.rstrip() == "---"), 0)
    places = range(1, end) if front_matter else range(end + 1, len(lines))
    word = re.compile(rf"^\s*(?:{name}):" if front_matter else rf"\b{name}\b")
    return next((number + 1 for number in places if word.search(lines[number])), 1)
