"""`check_judge`: it finds every fault of a judge or prompt file with its line, and none in the shipped files."""

from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.io.resources import list_resources
from rlaif.judges.check import check_judge

PAIR = "---\nkind: pairwise\nverdict: logprob\nchoices: [A, B]\n---\n"
LABEL = "---\nkind: pairwise\nverdict: label\nchoices: [A, AB]\npattern: %s\n---\n"
GOOD = "{% block user %}\n{{ context }}\n{{ question }}\n{{ answer_a }}\n{{ answer_b }}\n{% endblock %}\n"


def findings(folder: Path, prompt: str, judge: str | None = None) -> list[str]:
    (folder / "p.md").write_text(prompt, encoding="utf-8")
    name = folder / "p.md"
    if judge is not None:
        name = folder / "j.yaml"
        name.write_text(judge, encoding="utf-8")
    return [str(finding).replace(f"{folder}/", "") for finding in check_judge(str(name))]


@pytest.mark.parametrize("name", [*list_resources("judges"), "finance-grounded:reasoning", "finance-panel:model=m"])
def test_our_own_judges_have_no_fault(name: str) -> None:
    assert check_judge(name) == []


@pytest.mark.parametrize("name", list_resources("prompts"))
def test_our_own_prompts_have_no_fault(name: str) -> None:
    assert check_judge(f"{name}.md") == []


def test_a_good_file_has_no_finding(tmp_path: Path) -> None:
    assert findings(tmp_path, PAIR + GOOD) == []
    assert findings(tmp_path, PAIR + GOOD, "kind: llm\nprompt: ./p.md\n") == []


def test_all_faults_of_a_part_are_found_each_with_its_line(tmp_path: Path) -> None:
    body = "{% block user %}\n{{ qestion }}\n{{ anser_a }}{{ answer_b }}\n{% endblock %}\nbye\n"
    found = findings(tmp_path, PAIR + body)
    assert [finding.split(";")[0] for finding in found] == [
        "p.md:10: text outside the blocks system and user",
        "p.md:7: unknown variable qestion",
        "p.md:8: unknown variable anser_a",
        "p.md:6: question, answer_a never shown",
    ]
    front = "---\nkind: pairwise\nverdict: label\npattern: '([AB]'\nlables: x\n---\n"
    assert [finding.partition(": ")[0] for finding in findings(tmp_path, front + GOOD)] == [
        "p.md:2",
        "p.md:4",
        "p.md:5",
    ]


@pytest.mark.parametrize(
    "swapped", ["{{ [answer_a, answer_b] | sort }}", "{{ answer_a | length + answer_b | length }}"]
)
def test_orders_that_render_alike_are_a_fault(tmp_path: Path, swapped: str) -> None:
    found = findings(tmp_path, PAIR + "{% block user %}\n{{ question }}\n" + swapped + "\n{% endblock %}\n")
    assert found == ["p.md:8: both orders of the answers render alike, so the judge cannot tell which is which"]


def test_shared_text_must_come_first(tmp_path: Path) -> None:
    body = (
        "{% block user %}\n{{ question }}\n{{ answer_a }}\n{{ context }}\n{{ answer_b }}\n"
        "{% if reference %}\n{{ reference }}\n{% endif %}\n{{ rubric }}\n{% endblock %}\n"
    )
    found = findings(tmp_path, PAIR + body)
    assert [finding[: finding.index(" comes")] for finding in found] == [
        "p.md:9: context", "p.md:11: reference", "p.md:14: rubric",
    ]  # fmt: skip
    user = "{% block user %}{{ question }}{% endblock %}\n"
    system = "{% block system %}\n{{ answer_a }}{{ answer_b }}\n{% endblock %}\n" + user
    assert [finding[:15] for finding in findings(tmp_path, PAIR + system)] == ["p.md:9: questio"]


def test_a_principle_is_not_shared_and_comes_after_the_shared_text(tmp_path: Path) -> None:
    head = "{% block user %}\n{{ principle }}\n{{ question }}\n{{ answer_a }}\n{{ answer_b }}\n{% endblock %}\n"
    judge = "kind: llm\nprompt: ./p.md\nprinciples: [x, y]\n"
    assert [finding[:16] for finding in findings(tmp_path, PAIR + head, judge)] == ["p.md:8: question"]


def test_a_rated_answer_comes_last_too(tmp_path: Path) -> None:
    front = "---\nkind: pointwise\nverdict: score\nscale: [1, 5]\n---\n"
    body = "{% block user %}\n{{ answer }}\n{{ question }}\n{% endblock %}\n"
    assert [finding[:16] for finding in findings(tmp_path, front + body)] == ["p.md:8: question"]


@pytest.mark.parametrize(("label", "said"), [("(A|AB)", "AB"), ("'^> (AB?)$'", "> A")])
def test_a_label_that_is_never_read_is_a_fault(tmp_path: Path, label: str, said: str) -> None:
    found = findings(tmp_path, LABEL % label + GOOD)
    assert f"p.md:5: pattern: {said!r} is not read as" in found[0]
    assert findings(tmp_path, LABEL % "'(AB|A)'" + GOOD) == []


def test_a_judge_files_faults_are_found_with_those_of_its_prompt(tmp_path: Path) -> None:
    assert findings(tmp_path, PAIR + GOOD, "kind: llm\nprompt: ./p.md\nbackend: {type: tgi}\nsamples: 0\n") == [
        "j.yaml:3: backend.type: expected one of 'vllm', 'openai' (got 'tgi')",
        "j.yaml:4: samples: expected greater than or equal to 1 (got 0)",
    ]
    (found,) = findings(tmp_path, PAIR, "kind: llm\nprompt: ./p.md\n")
    assert found.startswith("j.yaml:2: prompt: p.md:6: no block user")
    (found,) = findings(tmp_path, PAIR + GOOD, "kind: panel\nmode: mean\njudges: [./nonesuch.yaml]\n")
    assert found == "j.yaml:3: judges.0: ./nonesuch.yaml: no such file"


def test_an_unknown_name_is_reported() -> None:
    with pytest.raises(UserError, match="nonesuch: no judge by that name"):
        check_judge("nonesuch")
    assert check_judge("answer") == []
