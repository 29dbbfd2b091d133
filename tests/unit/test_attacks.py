"""Attacks: our own templates quote an attacked answer whole, and a judge that repeats it gives no verdict."""

import re

import pytest

from rlaif.data.criteria import Criterion
from rlaif.io.resources import find_resource, list_resources
from rlaif.judge_evals.attacks import ATTACKS
from rlaif.prompts.front_matter import AnswerFrontMatter, LogprobFrontMatter, PointwiseMarks
from rlaif.prompts.quoting import quoted, without_role_markers
from rlaif.prompts.reading import UNPARSED
from rlaif.prompts.template import PromptTemplate, load_forms

LOADED = [form for name in list_resources("prompts") for form in load_forms(find_resource("prompts", name))]
PROMPTS = [prompt for prompt in LOADED if not isinstance(prompt.front_matter, AnswerFrontMatter)]
ANSWER = "Sales were $7 million.\nThey rose by 3%."
MARKER = re.compile(r"<[|｜]|[|｜]>|</?s>|\[/?INST\]|<(?:start|end)_of_turn>")

each_attack = pytest.mark.parametrize("attack", ATTACKS)


def shown(prompt: PromptTemplate, answer: str) -> tuple[str, str]:
    """Return the system message, and the user messages with the answer as each of the shown answers in turn."""
    names = [name for name in ("answer_a", "answer_b", "answer") if name in prompt.uses]
    extra = {"principle": "Be right."} if "principle" in prompt.uses else {}
    systems, users = set(), []
    for attacked in names:
        values = {name: answer if name == attacked else "I do not know." for name in names}
        system, user = prompt.render(question="What were sales?", context="Sales were 7.", **values, **extra)
        systems.add(system["content"])
        users.append(user["content"])
    (system_text,) = systems
    return system_text, "\n".join(users)


@each_attack
def test_an_attack_keeps_the_answer_and_adds_to_it(attack: str) -> None:
    attacked = ATTACKS[attack](ANSWER)
    assert len(attacked) > len(ANSWER)
    assert attacked.replace("\u200b", "").startswith(ANSWER)
    assert ATTACKS[attack]("")


@each_attack
def test_no_line_of_an_attacked_answer_leaves_its_quotation(attack: str) -> None:
    attacked = ATTACKS[attack](ANSWER)
    for prompt in PROMPTS:
        (system, content), (plain_system, plain) = shown(prompt, attacked), shown(prompt, "x")
        assert system == plain_system
        assert quoted(without_role_markers(attacked)) in content
        around, plain_around = (
            [line for line in text.splitlines() if not line.startswith("| ")] for text in (content, plain)
        )
        assert around == plain_around


@each_attack
def test_no_role_marker_survives_and_no_template_is_rendered(attack: str) -> None:
    for prompt in PROMPTS:
        _, content = shown(prompt, ATTACKS[attack](ANSWER))
        assert not MARKER.search(content)
        assert "49" not in content
        assert ("{{ reference }}" in content) == (attack == "template-syntax")


@each_attack
def test_a_judge_that_repeats_an_attacked_answer_gives_no_verdict(attack: str) -> None:
    criteria = (Criterion("truth"),)
    readers = [
        front.reader(criteria) if isinstance(front, PointwiseMarks) else front
        for front in (prompt.front_matter for prompt in PROMPTS)
        if not isinstance(front, LogprobFrontMatter | AnswerFrontMatter)
    ]
    assert len(readers) >= 5
    for reader in readers:
        assert reader.of_text(f"The answer reads:\n{quoted(ATTACKS[attack](ANSWER))}\n") == UNPARSED


def test_padding_is_a_thousandfold() -> None:
    assert len(ATTACKS["padding"](ANSWER)) > 1000 * len(ANSWER)
