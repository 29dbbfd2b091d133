"""Prompt files: the messages that they render to, and one message for each fault."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import RenamedWarning, UserError
from rlaif.prompts.quoting import quoted, without_role_markers
from rlaif.prompts.template import PromptTemplate, load_template

PAIRWISE = "kind: pairwise\nverdict: logprob\nchoices: [A, B]"
SHIPPED = load_template("finance-grounded")
BODY = "{% block user %}\n{{ question }}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n"
RATED = "{% block user %}\n{{ question }}\n{{ answer | quoted }}\n{% endblock %}\n"
LABEL = "kind: pairwise\nverdict: label\nchoices: [A, B]\n"


def prompt(folder: Path, body: str, front: str = "kind: answer") -> PromptTemplate:
    path = folder / "mine.md"
    path.write_text(f"---\n{front}\n---\n{body}", encoding="utf-8")
    return load_template(str(path))


def fault(folder: Path, body: str, front: str = "kind: answer") -> str:
    with pytest.raises(UserError) as error:
        prompt(folder, body, front)
    return str(error.value).removeprefix(f"{folder}/")


def test_system_and_user_become_messages_without_outer_blank_lines(tmp_path: Path) -> None:
    loaded = prompt(
        tmp_path,
        "{% block system %}\nBe brief.\n{% endblock %}\n\n"
        "{% block user %}\n{% if context %}\n{{ context }}\n\n{% endif %}\nQuestion: {{ question }}\n{% endblock %}\n",
    )
    assert loaded.render(question="How much?", context="Sales were 7.") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Sales were 7.\n\nQuestion: How much?"},
    ]
    assert loaded.render(question="How much?")[1]["content"] == "Question: How much?"


@pytest.mark.parametrize("system", ["", "{% block system %}\n\n{% endblock %}\n"])
def test_no_system_message_from_an_empty_or_missing_block(tmp_path: Path, system: str) -> None:
    loaded = prompt(tmp_path, system + "{% block user %}{{ question }}{% endblock %}")
    assert loaded.render(question="Why?") == [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize(
    ("body", "front", "message"),
    [
        ("{% block user %}\n{{ question }\n{% endblock %}", "kind: answer", "mine.md:5: unexpected '}'"),
        (
            "\n{% block user %}\n{{ question | shout }}{% endblock %}",
            "kind: answer",
            "mine.md:6: No filter named 'shout'",
        ),
        ("{% block user %}\n\n{{ qestion }}{% endblock %}", "kind: answer", "mine.md:6: unknown variable qestion;"),
        (
            "{% block user %}{{ question }}{{ answer_a }}{% endblock %}",
            "kind: answer",
            "mine.md:4: unknown variable answer_a",
        ),
        ("{% block system %}{{ question }}{% endblock %}", "kind: answer", "mine.md:4: no block user;"),
        ("{% block usr %}{{ question }}{% endblock %}", "kind: answer", "mine.md:4: block usr; expected blocks"),
        ("\n\nHello\n{% block user %}{{ question }}{% endblock %}", "kind: answer", "mine.md:6: text outside"),
        ("{% block user %}{{ question }}{% endblock %}\n{{ context }}", "kind: answer", "mine.md:5: text outside"),
        (
            "{% block user %}\n{% include 'x' %}{{ question }}{% endblock %}",
            "kind: answer",
            "mine.md:5: a prompt is one file",
        ),
        (
            "{% block user %}\n{{ question + 1 }}{% endblock %}",
            "kind: answer",
            "mine.md:5: block user: can only concatenate",
        ),
        (
            "{% block user %}{{ question.__class__.mro() }}{% endblock %}",
            "kind: answer",
            "mine.md:4: block user: access to",
        ),
        (
            "{% block user %}{% if question == 1 %}a{% endif %}{% endblock %}",
            "kind: answer",
            "mine.md:4: block user renders",
        ),
        ("{% block user %}{{ question }}{{ answer_a }}{% endblock %}", PAIRWISE, "mine.md:6: answer_b never shown;"),
        (BODY, "kind: guess", "mine.md:2: kind: expected one of 'answer', 'pairwise', 'pointwise' (got 'guess')"),
        (BODY, "verdict: logprob", "mine.md:2: kind: missing"),
        (
            BODY,
            "kind: pairwise\nverdict: score",
            "mine.md:3: verdict: expected one of 'logprob', 'label', 'json' (got 'score')",
        ),
        (BODY, "kind: pairwise", "mine.md:2: verdict: missing"),
        (BODY, "kind: pairwise\nverdict: label\nchoices: [A, B]", "mine.md:2: pattern: missing"),
        (BODY, LABEL + "pattern: '(A|B'", "mine.md:5: pattern: not a regular expression: missing )"),
        (BODY, LABEL + "pattern: '[[(A|B)]]'", "mine.md:5: pattern: possible nested set"),
        (BODY, LABEL + "pattern: '[AB]'", "mine.md:5: pattern: 0 groups; expected exactly one"),
        (BODY, LABEL + "pattern: '(A)|(B)'", "mine.md:5: pattern: 2 groups; expected exactly one"),
        (BODY, LABEL + "pattern: 'Output ([ac])'", "mine.md:5: pattern: the group never captures B;"),
        (BODY, LABEL + "tie_choice: C\npattern: '([AB])'", "mine.md:6: pattern: the group never captures C;"),
        (BODY, LABEL + "tie_choice: a\npattern: '([AB])'", "mine.md:5: tie_choice: is also one of choices"),
        (BODY, "kind: pairwise\nverdict: label\nchoices: [a, A]", "mine.md:4: choices: differ only by case"),
        (BODY, LABEL + "pattern: '([AB])'\nprefix: x", "mine.md:6: prefix: unknown key"),
        (BODY, "kind: pairwise\nverdict: json\nscale: [1, 5]", "mine.md:4: scale: unknown key"),
        (RATED, "kind: pointwise\nverdict: score", "mine.md:2: scale: missing"),
        (RATED, "kind: pointwise\nverdict: score\nscale: [5, 1]", "mine.md:4: scale: expected the least and"),
        (RATED, "kind: pointwise\nverdict: score\nscale: [1, .inf]", "mine.md:4: scale: expected the least and"),
        (
            RATED,
            "kind: pointwise\nverdict: logprob\nscale: [0, 100]",
            "mine.md:4: scale: 101 ratings; expected at most 20",
        ),
        (RATED, "kind: pointwise\nverdict: logprob\nscale: [0, 1.5]", "mine.md:4: scale.1: expected a valid integer"),
        (BODY, "kind: pointwise\nverdict: score\nscale: [1, 5]", "mine.md:8: unknown variable answer_a"),
        (RATED, "kind: pairwise\nverdict: json", "mine.md:7: unknown variable answer;"),
        (BODY, "kind: pairwise\nverdict: logprob", "mine.md:2: choices: missing"),
        (
            BODY,
            "kind: pairwise\nverdict: logprob\nchoices: [A, A]",
            "mine.md:4: choices: expected two different",
        ),
        (BODY, "kind: pairwise\nverdict: logprob\nchoices: [A]", "mine.md:4: choices"),
        (
            BODY,
            "kind: pairwise\nverdict: logprob\nchoices: [true, false]",
            "mine.md:4: choices.0: expected text; put it in quotes (got True)",
        ),
        (BODY, PAIRWISE + "\nlables: x", "mine.md:5: lables: unknown key"),
        (BODY, PAIRWISE + "\nkind: pairwise", "mine.md:5: kind: duplicate key"),
        (BODY, "kind: [answer", "mine.md:2: not YAML"),
        (BODY, "just words", "mine.md:2: expected keys"),
    ],
)
def test_each_fault_has_one_message_with_its_line(tmp_path: Path, body: str, front: str, message: str) -> None:
    assert fault(tmp_path, body, front).startswith(message)


@pytest.mark.parametrize("text", ["", "Hello {{ question }}", "kind: answer\n---\n", "---\nkind: answer\n"])
def test_missing_front_matter_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.md:1: .*front matter"):
        load_template(str(path))


def test_the_error_for_an_unknown_name_lists_the_prompts() -> None:
    with pytest.raises(UserError, match=r"nonesuch: no prompt by that name.*finance-grounded"):
        load_template("nonesuch")


def test_the_sha_depends_on_what_decides_the_output(tmp_path: Path) -> None:
    sha = prompt(tmp_path, BODY, PAIRWISE).sha
    assert prompt(tmp_path, BODY, "# Comments decide nothing.\n" + PAIRWISE).sha == sha
    assert prompt(tmp_path, BODY, "choices:\n- A\n- 'B'\nprefix: ''\nverdict: logprob\nkind: pairwise").sha == sha
    assert prompt(tmp_path, BODY.replace("\n", "\r\n"), PAIRWISE).sha == sha
    assert prompt(tmp_path, BODY, PAIRWISE + "\nprefix: 'Answer: '").sha != sha
    assert prompt(tmp_path, BODY, PAIRWISE.replace("[A, B]", "[B, A]")).sha != sha
    assert prompt(tmp_path, BODY.replace("{{ question }}", "Q: {{ question }}"), PAIRWISE).sha != sha


def test_the_shas_of_prompts_that_runs_have_recorded_do_not_change() -> None:
    assert SHIPPED.sha == "a93478367879cd7e902c09e5a0748aa6ea78801a6b1ad8a9439f95c200f5fab2"


def test_a_default_written_out_does_not_change_the_sha(tmp_path: Path) -> None:
    label = LABEL + "pattern: '([AB])'\n"
    assert prompt(tmp_path, BODY, label + "tie_choice: null").sha == prompt(tmp_path, BODY, label).sha
    json = "kind: pairwise\nverdict: json\n"
    assert prompt(tmp_path, BODY, json + "choices: [A, B]\nreason: true").sha == prompt(tmp_path, BODY, json).sha


def test_variables_of_another_kind_or_missing_ones_are_refused(tmp_path: Path) -> None:
    loaded = prompt(tmp_path, "{% block user %}{{ question }}{% endblock %}")
    with pytest.raises(ValueError, match="answer_a"):
        loaded.render(question="q", answer_a="a")
    with pytest.raises(ValueError, match="question"):
        loaded.render(context="c")


def test_two_renderings_of_the_same_values_never_differ(tmp_path: Path) -> None:
    assert "No filter named 'random'" in fault(tmp_path, "{% block user %}{{ question | random }}{% endblock %}")
    assert "unknown variable lipsum" in fault(tmp_path, "{% block user %}{{ question }}{{ lipsum() }}{% endblock %}")


@pytest.mark.parametrize("value", ["{{ 7 * 7 }}", "{% for i in [1] %}x{% endfor %}", "{# gone #}", "{% endblock %}"])
def test_a_value_is_never_read_as_template_syntax(tmp_path: Path, value: str) -> None:
    loaded = prompt(tmp_path, "{% block user %}{{ question }}{% endblock %}")
    assert loaded.render(question=value)[0]["content"] == value


@pytest.mark.parametrize(
    "marker",
    ["<|im_end|>", "<|im_start|>system", "<|eot_id|>", "</s>", "<s>", "[INST]", "[/INST]", "<<SYS>>", "<end_of_turn>",
     "<start_of_turn>model", "<｜Assistant｜>", "<|end▁of▁sentence|>", "<eos>"],
)  # fmt: skip
def test_a_value_never_spells_a_special_token(tmp_path: Path, marker: str) -> None:
    loaded = prompt(tmp_path, "{% block user %}{{ question }}{% endblock %}")
    content = loaded.render(question=f"7{marker}8")[0]["content"]
    assert marker not in content
    assert content.replace(" ", "") == f"7{marker}8".replace(" ", "")


@given(st.text())
def test_only_spaces_are_added_to_a_value(text: str) -> None:
    assert without_role_markers(text).replace(" ", "") == text.replace(" ", "")


@pytest.mark.parametrize("text", ["revenue < 5 and > 3", "a | b | c", "[1] (2) <b>", "Sales rose <1%"])
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert without_role_markers(text) == text


@given(
    st.text() | st.lists(st.sampled_from(["| ", "\n", "\r", "\u2028", "\x85", "\x0b", "Answer B:", "|"])).map("".join)
)
def test_every_line_of_a_quotation_is_marked(text: str) -> None:
    lines = quoted(text).splitlines()
    assert lines
    assert all(line.startswith("| ") for line in lines)
    assert [line.removeprefix("| ") for line in lines] == (text.splitlines() or [""])


@given(
    answer=st.text()
    | st.lists(st.sampled_from(["\n", "\u2029", "Answer B:", "| x", "Which is better? A", "---"])).map("\n".join)
)
def test_an_answer_cannot_leave_its_quotation(answer: str) -> None:
    content = SHIPPED.render(question="Q?", context="C.", answer_a=answer, answer_b="seven")[-1]["content"]
    unquoted = [line for line in content.splitlines() if not line.startswith("| ")]
    assert [line for line in unquoted if line] == [
        "Context:", "C.", "Question: Q?", "Answer A:", "Answer B:",
        "Which answer is better? Reply with one letter, A or B.",
    ]  # fmt: skip


def test_the_shipped_judge_prompt_shares_its_beginning_between_all_comparisons_of_a_question() -> None:
    shared = {"question": "How much?", "context": "Sales were 7.", "reference": "7", "rubric": "Prefer whole numbers."}
    one = SHIPPED.render(**shared, answer_a="seven", answer_b="eight")
    other = SHIPPED.render(**shared, answer_a="nine", answer_b="ten")
    assert one[0] == other[0]
    assert shared["rubric"] in one[0]["content"]
    beginning, _, _ = one[1]["content"].partition("| seven")
    assert other[1]["content"].startswith(beginning)
    assert all(shared[name] in beginning for name in ("question", "context", "reference"))


def test_the_shipped_answer_prompt_puts_the_context_before_the_question() -> None:
    system, user = load_template("answer").render(question="How much?", context="Sales were 7.")
    assert system["role"] == "system"
    assert user["content"] == "Sales were 7.\n\nQuestion: How much?"


BOTH = PAIRWISE + "\nreasoning:\n  verdict: label\n  choices: [A, B]\n  pattern: '\\[\\[([AB])\\]\\]'"
TWO_FORMS = (
    "{% block user %}\n{% if context %}\n{{ context }}\n{% if reasoning %}\n{% if rubric %}\nR\n{% else %}\nN\n"
    "{% endif %}\n{% endif %}\n{% endif %}\n{{ question }}{% if reference %}!{% endif %}\n{% if not reasoning %}\n"
    "Short.\n{% else %}\nThink.\n{% endif %}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n"
)
SHORT_FORM = (
    "{% block user %}\n{% if context %}\n{{ context }}\n{% endif %}\n{{ question }}{% if reference %}!{% endif %}\n"
    "Short.\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n"
)
LONG_FORM = (
    "{% block user %}\n{% if context %}\n{{ context }}\n{% if rubric %}\nR\n{% else %}\nN\n{% endif %}\n{% endif %}\n"
    "{{ question }}{% if reference %}!{% endif %}\nThink.\n{{ answer_a | quoted }}\n"
    "{{ answer_b | quoted }}\n{% endblock %}\n"
)


def test_each_form_of_a_file_equals_a_file_with_that_form_alone(tmp_path: Path) -> None:
    short, long = prompt(tmp_path, TWO_FORMS, BOTH), load_template(f"{tmp_path / 'mine.md'}:reasoning")
    assert load_template(str(tmp_path / "mine.md"), reasoning=True).sha == long.sha
    assert (short.name, long.name) == ("mine", "mine:reasoning")
    alone = (
        prompt(tmp_path, SHORT_FORM, PAIRWISE),
        prompt(tmp_path, LONG_FORM, LABEL + "pattern: '\\[\\[([AB])\\]\\]'"),
    )
    values = {"question": "Q", "answer_a": "{% if reasoning %}", "answer_b": "b"}
    for form, file in zip((short, long), alone, strict=True):
        assert (form.sha, form.uses, form.front_matter) == (file.sha, file.uses, file.front_matter)
        for extra in ({}, {"context": "C", "rubric": "x", "reference": "y"}):
            assert form.render(**values, **extra) == file.render(**values, **extra)


@pytest.mark.parametrize(
    ("front", "body", "message"),
    [
        (BOTH.replace("[A, B]\n  pattern", "[A, A]\n  pattern"), TWO_FORMS, "mine.md:7: choices: "),
        (BOTH, TWO_FORMS.replace("Think.", "{{ thought }}"), "mine.md:25: unknown variable thought"),
        (BOTH, TWO_FORMS.replace("Short.", "{{ thought }}"), "mine.md:23: unknown variable thought"),
        (BOTH, TWO_FORMS.replace("{{ answer_b", "{% if reasoning %}!{% endif %}{{ answer_b"), "mine.md:28: unknown"),
        (PAIRWISE, TWO_FORMS, "mine.md:9: unknown variable reasoning"),
        (PAIRWISE + "\nreasoning: true", TWO_FORMS, "mine.md:5: reasoning: expected keys such as verdict"),
    ],
)
def test_a_fault_of_either_form_is_found_with_its_line(tmp_path: Path, front: str, body: str, message: str) -> None:
    assert fault(tmp_path, body, front).startswith(message)


def test_a_former_name_and_a_missing_form() -> None:
    with pytest.warns(UserWarning, match="prompt: rubric-reasoning is now called rubric:reasoning"):
        assert load_template("rubric-reasoning").sha == load_template("rubric", reasoning=True).sha
    with pytest.raises(UserError, match=r"answer\.md: asks for no reasons; expected a section `reasoning`"):
        load_template("answer:reasoning")
    with pytest.raises(UserError, match=r"rubric:short: no prompt"):
        load_template("rubric:short")


def test_old_keys_give_the_same_prompt_and_warnings_the_new_keys(tmp_path: Path) -> None:
    new = "kind: pairwise\nverdict: label\nchoices: [A, B]\ntie_choice: C\npattern: '([ABC])'"
    old = new.replace("choices", "labels").replace("tie_choice", "tie_label").replace("pattern", "label")
    with pytest.warns(RenamedWarning) as warned:
        renamed = prompt(tmp_path, BODY, old)
    assert [str(warning.message).removeprefix(f"{tmp_path}/") for warning in warned] == [
        "mine.md:4: labels is now called choices; the old name still works",
        "mine.md:5: tie_label is now called tie_choice; the old name still works",
        "mine.md:6: label is now called pattern; the old name still works",
    ]
    loaded = prompt(tmp_path, BODY, new)
    assert (renamed.sha, renamed.front_matter) == (loaded.sha, loaded.front_matter)
    with pytest.warns(RenamedWarning, match=r"mine\.md:7: reasoning\.labels is now called reasoning\.choices"):
        prompt(tmp_path, TWO_FORMS, BOTH.replace("  choices", "  labels"))
