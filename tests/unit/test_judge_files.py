"""Judge files: what they load to, what their sha256 stands for, and the one message that each fault gets."""

from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.spec import JudgeSpec

LLM = "kind: llm\nprompt: finance-grounded\n"
OPENAI = LLM + "backend:\n  type: openai\n  model: m"
PANEL = "kind: panel\nmode: first-to-decide\n"


def judge(folder: Path, text: str, name: str = "mine") -> JudgeSpec:
    path = folder / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return load_judge_file(str(path))


def fault(folder: Path, text: str) -> str:
    with pytest.raises(UserError) as error:
        judge(folder, text)
    return str(error.value).replace(f"{folder}/", "")


def test_the_shipped_panel_is_the_exact_check_and_then_the_initial_policy() -> None:
    panel = load_judge_file("finance-panel")
    assert isinstance(panel, PanelSpec)
    assert [member.name for member in panel.members] == ["reference", "finance-grounded"]
    assert panel.models == {"policy"}
    assert load_judge_file("reference").models == frozenset()
    assert panel.describe()["members"][1]["prompt"] == "finance-grounded"


def test_backend_and_orders_have_defaults(tmp_path: Path) -> None:
    spec = judge(tmp_path, LLM)
    assert isinstance(spec, LlmSpec)
    assert (spec.model, spec.orders, spec.front_matter.labels) == ("policy", "both", ("A", "B"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: oracle",
            "mine.yaml:1: kind: expected one of 'reference', 'llm', 'reward-model', 'panel' (got 'oracle')",
        ),
        ("tolerance: 0.1", "mine.yaml:1: kind: missing"),
        ("", "mine.yaml:1: expected keys"),
        ("- kind: llm", "mine.yaml:1: expected keys"),
        ("# mine\nkind: reference\ntolerance: [", "mine.yaml:3: not YAML"),
        ("kind: reference\ntolerance: wide", "mine.yaml:2: tolerance: expected a valid number"),
        ("kind: reference\ntolerance: -1", "mine.yaml:2: tolerance: expected greater than or equal to 0 (got -1)"),
        ("kind: reference\n\ntolerence: 0.1", "mine.yaml:3: tolerence: unknown key"),
        ("kind: llm", "mine.yaml:1: prompt: missing"),
        (LLM + "orders: one", "mine.yaml:3: orders: expected 'both' or 'given' (got 'one')"),
        (LLM + "backend:\n  type: tgi", "mine.yaml:4: backend.type: expected one of 'vllm', 'openai' (got 'tgi')"),
        (LLM + "backend:\n  type: openai", "mine.yaml:3: backend.model: missing"),
        (OPENAI + "\n  retry: 3", "mine.yaml:6: backend.retry: unknown key"),
        (OPENAI + "\n  prices: {prompt: -1, completion: 2}", "mine.yaml:6: backend.prices.prompt: expected greater"),
        (
            OPENAI + "\n  prices: {prompt: 1, completion: 2, currency: $}",
            "mine.yaml:6: backend.prices.currency: string",
        ),
        (OPENAI + "\n  base_url: localhost:8000", "mine.yaml:6: backend.base_url: expected a URL such as"),
        (OPENAI + "\n  base_url: https://me:secret@host/v1", "mine.yaml:6: backend.base_url: holds a credential"),
        (OPENAI + "\n  api_key_env: sk-abc", "mine.yaml:6: backend.api_key_env: string should match"),
        (LLM + "temperature: 0.7", "mine.yaml:3: temperature: the prompt is read from log-probabilities"),
        (LLM + "max_tokens: 9", "mine.yaml:3: max_tokens: the prompt is read from log-probabilities"),
        (LLM + "samples: 2", "mine.yaml:3: samples: the prompt is read from log-probabilities"),
        (LLM + "seed: 2", "mine.yaml:3: seed: has no effect: set a temperature above 0, or give principles"),
        (LLM + "principles: [Be brief.]", "mine.yaml:3: principles: "),
        (LLM + "principles_file: nonesuch.txt", "mine.yaml:3: principles_file: nonesuch.txt: no such file"),
        ("kind: reward-model", "mine.yaml:1: model: missing"),
        ("kind: reward-model\nmodel: m\ndevice: tpu", "mine.yaml:3: device: string should match"),
        ("kind: reward-model\nmodel: m\nprompt: finance-grounded", "mine.yaml:3: prompt: "),
        (
            "kind: panel\nmode: majority\njudges: [reference]\nskip_when_both_below: 0.5",
            "mine.yaml:4: skip_when_both_below: mode majority asks all judges",
        ),
        (LLM + "backend:\n  model: m", "mine.yaml:3: backend.type: missing"),
        ("kind: llm\nprompt: nonesuch", "mine.yaml:2: prompt: nonesuch: no prompt by that name"),
        ("kind: llm\nprompt: answer", "mine.yaml:2: prompt: "),
        (PANEL + "judges: []", "mine.yaml:3: judges: "),
        (PANEL + "judges:\n- reference\n- nonesuch", "mine.yaml:5: judges.1: nonesuch: no judge by that name"),
        (PANEL + "judges: [reference, reference]", "mine.yaml:3: judges: reference and reference are the same judge"),
        (
            PANEL + "judges: [reference, finance-panel]",
            "mine.yaml:3: judges: reference and reference are the same judge",
        ),
        (PANEL + "judges: [mine.yaml]", "mine.yaml:3: judges.0: a panel that asks itself: mine -> mine"),
        (
            "kind: panel\nmode: jury\njudges: [reference]",
            "mine.yaml:2: mode: expected 'first-to-decide', 'majority' or 'mean' (got 'jury')",
        ),
    ],
)
def test_each_fault_has_one_message_with_its_line_and_key(tmp_path: Path, text: str, message: str) -> None:
    assert fault(tmp_path, text).startswith(message)


def test_a_prompt_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert fault(tmp_path, "kind: llm\nprompt: answer").endswith("is of kind answer; expected pairwise or pointwise")


def test_a_rubric_that_the_prompt_never_shows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(
        "---\nkind: pairwise\nverdict: logprob\nlabels: [A, B]\n---\n"
        "{% block user %}{{ question }}{{ answer_a | quoted }}{{ answer_b | quoted }}{% endblock %}",
        encoding="utf-8",
    )
    judge(tmp_path, "kind: llm\nprompt: ./plain.md")
    assert fault(tmp_path, "kind: llm\nprompt: ./plain.md\nrubric: Be fair.").startswith("mine.yaml:3: rubric: ")


def test_panels_nest_and_a_circle_of_them_is_refused(tmp_path: Path) -> None:
    judge(tmp_path, PANEL + "judges: [reference]", "inner")
    outer = judge(tmp_path, PANEL + "judges: [./inner.yaml, finance-grounded]", "outer")
    assert [leaf.name for leaf in outer.leaves] == ["reference", "finance-grounded"]
    (tmp_path / "inner.yaml").write_text(PANEL + "judges: [./outer.yaml]", encoding="utf-8")
    with pytest.raises(UserError, match=r"inner\.yaml:3: judges\.0: a panel that asks itself: outer -> inner -> outer"):
        load_judge_file(str(tmp_path / "outer.yaml"))


def test_the_sha_is_of_what_decides_verdicts(tmp_path: Path) -> None:
    sha = judge(tmp_path, LLM).sha
    written_out = "# mine\n" + LLM + "backend: {model: policy, type: vllm}\norders: both\nrubric: ''\n"
    assert judge(tmp_path, written_out, "another").sha == sha
    for change in ("orders: given", "rubric: Prefer brief answers.", "backend: {type: vllm, model: m}"):
        assert judge(tmp_path, LLM + change).sha != sha
    reference = judge(tmp_path, "kind: reference").sha
    assert judge(tmp_path, "kind: reference\ntolerance: 0.005").sha == reference
    assert judge(tmp_path, "kind: reference\ntolerance: 0.01").sha != reference


def test_a_panels_sha_is_of_its_members_and_their_order(tmp_path: Path) -> None:
    sha = load_judge_file("finance-panel").sha
    assert judge(tmp_path, PANEL + "judges: [reference, finance-grounded]").sha == sha
    assert judge(tmp_path, PANEL + "judges: [finance-grounded, reference]").sha != sha
    assert judge(tmp_path, PANEL + "judges: [reference, finance-grounded]\nskip_when_both_below: 0.5").sha != sha
