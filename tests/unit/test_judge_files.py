"""Judge files: the judges that they load to, their sha256, and one message for each fault."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlaif.cli.main import app
from rlaif.errors import RenamedWarning, UserError
from rlaif.judges.judge_file import load_judge_file
from rlaif.judges.llm import LlmSpec
from rlaif.judges.panel import PanelSpec
from rlaif.judges.spec import JudgeSpec
from rlaif.recipe import JudgeSection, parse_overrides
from rlaif.recipe.judge import JudgeOverrides, OpenAIBackend

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
    assert (spec.model, spec.swap_positions, spec.front_matter.choices) == ("policy", True, ("A", "B"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: oracle",
            "mine.yaml:1: kind: expected one of 'reference', 'overlap', 'llm', 'reward-model', 'panel', 'python', "
            "'http' (got 'oracle')",
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
        (LLM + "orders: both\nswap_positions: true", "mine.yaml:3: orders: is the old name of swap_positions"),
        (LLM + "swap_positions: perhaps", "mine.yaml:3: swap_positions: expected a valid boolean"),
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


@pytest.mark.parametrize(
    "backend",
    [
        "headers: sk-secret",
        "headers: [sk-secret]",
        "headers: {X-Key: [sk-secret]}",
        'headers: {X-Key: "sk-secret\\n"}',
        "base_url: https://me:sk-secret@host/v1",
        "base_url: https://host/v1?key=sk-secret",
    ],
)
def test_no_message_quotes_what_may_be_a_secret(tmp_path: Path, backend: str) -> None:
    assert "secret" not in fault(tmp_path, f"{OPENAI}\n  {backend}")


def test_a_prompt_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert fault(tmp_path, "kind: llm\nprompt: answer").endswith("is of kind answer; expected pairwise or pointwise")


def test_a_rubric_that_the_prompt_never_shows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(
        "---\nkind: pairwise\nverdict: logprob\nchoices: [A, B]\n---\n"
        "{% block user %}{{ question }}{{ answer_a | quoted }}{{ answer_b | quoted }}{% endblock %}",
        encoding="utf-8",
    )
    judge(tmp_path, "kind: llm\nprompt: ./plain.md")
    assert fault(tmp_path, "kind: llm\nprompt: ./plain.md\nrubric: Be fair.").startswith("mine.yaml:3: rubric: ")


_SECRETS = (
    "http://me:sesame@host/v1",
    "http://me:sesame@host:99999/v1",
    "http://sesame@host/v1",
    "http://host/v1?key=sesame",
    "http://host:0/v1?key=sesame",
    "http://host/v1#sesame",
    "http://[::1/?key=sesame",
    "me:sesame@host",
)


@pytest.mark.parametrize("url", _SECRETS)
def test_a_secret_in_a_url_is_refused_and_in_no_message(url: str, tmp_path: Path) -> None:
    for value in (f"'{url}'", f"['{url}']", f"{{a: '{url}'}}"):
        for text in (
            f"kind: http\nurl: {value}",
            f"kind: http\nurl: http://host\nversion: [{value}]",
            f"{OPENAI}\n  base_url: {value}",
            f"{LLM}backend:\n  type: opnai\n  model: m\n  base_url: {value}",
            f"{LLM}backend:\n  base_url: {value}",
            f"{LLM}backend: {value}",
        ):
            assert "sesame" not in fault(tmp_path, text)
    overrides = {"name": "finance-grounded", "backend": {"type": "openai", "model": "m", "base_url": url}}
    with pytest.raises(UserError) as refused:
        parse_overrides(JudgeSection, [], overrides)
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize("url", ["http://host:99999", "http://host:port", "http://host:0", "http://[::1", "host:8000"])
def test_a_url_that_cannot_be_asked_has_one_message(url: str, tmp_path: Path) -> None:
    assert fault(tmp_path, f"kind: http\nurl: '{url}'").startswith("mine.yaml:2: url: expected a URL such as http://")
    assert "mine.yaml:6: backend.base_url: expected a URL" in fault(tmp_path, f"{OPENAI}\n  base_url: '{url}'")


def test_panels_nest_and_a_circle_of_them_is_refused(tmp_path: Path) -> None:
    judge(tmp_path, PANEL + "judges: [reference]", "inner")
    outer = judge(tmp_path, PANEL + "judges: [./inner.yaml, finance-grounded]", "outer")
    assert [leaf.name for leaf in outer.leaves] == ["reference", "finance-grounded"]
    (tmp_path / "inner.yaml").write_text(PANEL + "judges: [./outer.yaml]", encoding="utf-8")
    with pytest.raises(UserError, match=r"inner\.yaml:3: judges\.0: a panel that asks itself: outer -> inner -> outer"):
        load_judge_file(str(tmp_path / "outer.yaml"))


def test_the_sha_depends_on_what_decides_verdicts(tmp_path: Path) -> None:
    sha = judge(tmp_path, LLM).sha
    written_out = "# mine\n" + LLM + "backend: {model: policy, type: vllm}\nswap_positions: true\nrubric: ''\n"
    assert judge(tmp_path, written_out, "another").sha == sha
    for change in ("swap_positions: false", "rubric: Prefer brief answers.", "backend: {type: vllm, model: m}"):
        assert judge(tmp_path, LLM + change).sha != sha
    reference = judge(tmp_path, "kind: reference").sha
    assert judge(tmp_path, "kind: reference\ntolerance: 0.005").sha == reference
    assert judge(tmp_path, "kind: reference\ntolerance: 0.01").sha != reference


def test_a_panels_sha_depends_on_its_members_and_their_order(tmp_path: Path) -> None:
    sha = load_judge_file("finance-panel").sha
    assert judge(tmp_path, PANEL + "judges: [reference, finance-grounded]").sha == sha
    assert judge(tmp_path, PANEL + "judges: [finance-grounded, reference]").sha != sha
    assert judge(tmp_path, PANEL + "judges: [reference, finance-grounded]\nskip_when_both_below: 0.5").sha != sha


# The sha256 of each judge that runs may have recorded, by its name at that time. That of
# finance-grounded-openai is new, as its model is: OpenAI serves gpt-4.1-mini until January 2027 only.
RECORDED = {
    "constitution": "7df48e1a8c12a651722bcaf7ead4c384ea2fb184fada9534d6329ebad2eb6bd0",
    "constitution-reasoning": "dc5dcf3cdc9ab862bc3a6eb306d1bf6601a569960a9602333c5418729ee2f3d6",
    "finance-correctness": "a8f6b7143f2f2fcaad438d57e00d341cba80845e47f4f30e77b3ce3c81e83151",
    "finance-correctness-reasoning": "de24670ead822110b0125ba19969ac2bf0015727f69ade27c1d61d5077cf50e8",
    "finance-grounded": "42a1456a5c443ebf400b7ebbde8e1bdec6fc36cabb1beb44717fcc60fc44689d",
    "finance-grounded-32b": "b4c0d5f489b44694760095232c46cad42749327d383bd2cb26cb06f6cc6ad1e4",
    "finance-grounded-openai": "48d414a689b62d6fb5d29e5d18e852db5f697397a7728b7700e33fe1e22b40cb",
    "finance-grounded-reasoning": "8d47436d6d217419ab6b62625f28ffe8fe54000620eae83bccfa5e14f24a1186",
    "finance-panel": "1f4e328e42d87e459ac636158b8ccbe9ddbc9907ebd07f081a44a27212e65fdf",
    "finance-panel-32b": "22e3892060695a7b4375d6c18dae6ab380c204568b49a5c0ea0ee0fd42147f42",
    "finance-panel-small": "fa9c2ddcd3c771802b33edab5fe57021334961d40af9613ea6121a7ab9c02f08",
    "helpfulness": "b353ae6b1133f8da1930cbee0fb85b1924b7a939d7f88b0984d97f1220c944e9",
    "helpfulness-reasoning": "261f1c3bba95d29d2859e9d1e3c5ff6ee5c01b58cc2c8698a58c9f8b3ef9a5bb",
    "reference": "eac5bada1de2b42c1c48588f5cf45964b330ea109bd7ceafb3ada4223882cb7a",
    "rubric": "26e109f4b35537c322edec3d87a4f281810660f945baf7389624ef61a5e753f1",
    "rubric-reasoning": "1b054bc78156bd0c51dd5f0e51bf4fec80c4f4e23ae8bbfd97f84d3597a1f4bf",
}


@pytest.mark.filterwarnings("ignore:judge. .* is now called")
@pytest.mark.parametrize("name", RECORDED)
def test_the_judges_that_runs_have_recorded_keep_their_names_and_shas(name: str) -> None:
    assert load_judge_file(name).sha == RECORDED[name]


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("finance-grounded-reasoning", "finance-grounded:reasoning"),
        ("finance-panel-32b", "finance-panel:model=Qwen/Qwen2.5-32B-Instruct"),
        ("finance-panel-small", "finance-panel:skip_when_both_below=0.5"),
    ],
)
def test_a_former_name_still_works_and_a_warning_gives_the_new_one(former: str, now: str) -> None:
    with pytest.warns(UserWarning, match=f"judge: {former} is now called {now}"):
        judge = load_judge_file(former)
    assert judge.sha == load_judge_file(now).sha
    section = JudgeSection.model_validate({"name": now})
    with pytest.warns(UserWarning, match=f"judge: {former} is now called {now}"):
        assert JudgeSection.model_validate({"name": former}) == section
    assert load_judge_file(section.name, section).sha == judge.sha


def test_a_file_of_the_working_directory_precedes_a_former_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judges").mkdir()
    (tmp_path / "judges" / "finance-panel-small.yaml").write_text("kind: reference", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert load_judge_file("finance-panel-small").sha == load_judge_file("reference").sha


def test_a_recipe_replaces_the_model_the_backend_and_the_reasoning_of_a_panels_judge(tmp_path: Path) -> None:
    panel = load_judge_file("finance-panel", JudgeOverrides(model="some/model", reasoning=True))
    assert panel.models == {"some/model"}
    assert panel.answer_tokens == 512
    member = panel.leaves[1]
    assert isinstance(member, LlmSpec)
    assert member.template.name == "finance-grounded:reasoning"
    assert load_judge_file("finance-panel:model=some/model,reasoning=true").sha == panel.sha
    named = judge(tmp_path, PANEL + "judges: [reference, 'finance-grounded:model=some/model,reasoning']")
    assert [leaf.sha for leaf in named.leaves] == [leaf.sha for leaf in panel.leaves]
    assert named.leaves[1].name == "finance-grounded:model=some/model,reasoning"
    endpoint = JudgeOverrides(backend=OpenAIBackend(type="openai", model="gpt-6-luna", reasoning_effort="none"))
    assert load_judge_file("finance-grounded:model=m", endpoint).sha == load_judge_file("finance-grounded-openai").sha
    path = tmp_path / "own.yaml"
    path.write_text(OPENAI, encoding="utf-8")
    mine = load_judge_file(f"{path}:model=other")
    assert mine.describe()["model"] == "other"
    assert mine.describe()["base_url"] == "https://api.openai.com/v1"
    assert mine.name == "own:model=other"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("reference:reasoning", "reasoning has no effect: the judge asks no model of kind llm"),
        ("finance-grounded:skip_when_both_below=0.5", "skip_when_both_below has no effect: the judge is no panel"),
        ("finance-grounded:resoning", "finance-grounded:resoning: resoning: "),
        ("finance-grounded:reasoning=perhaps", "finance-grounded:reasoning=perhaps: reasoning: "),
        ("nonesuch:reasoning", "nonesuch: no judge by that name"),
    ],
)
def test_an_override_that_does_not_fit_is_refused(name: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_judge_file(name)
    assert message in str(error.value)


def test_a_prompt_without_reasons_cannot_be_asked_for_them(tmp_path: Path) -> None:
    (tmp_path / "plain.md").write_text(
        "---\nkind: pairwise\nverdict: logprob\nchoices: [A, B]\n---\n"
        "{% block user %}{{ question }}{{ answer_a | quoted }}{{ answer_b | quoted }}{% endblock %}",
        encoding="utf-8",
    )
    message = fault(tmp_path, "kind: llm\nprompt: ./plain.md\nreasoning: true")
    assert message.startswith("mine.yaml:2: prompt: ")
    assert "expected a section `reasoning`" in message


@pytest.mark.parametrize(("old", "new"), [("both", "true"), ("given", "false")])
def test_an_old_key_gives_the_same_judge_and_a_warning_the_new_key(tmp_path: Path, old: str, new: str) -> None:
    with pytest.warns(RenamedWarning, match=r"mine\.yaml:3: orders is now called swap_positions"):
        renamed = judge(tmp_path, LLM + f"orders: {old}")
    assert renamed.sha == judge(tmp_path, LLM + f"swap_positions: {new}").sha
    assert renamed.describe()["swap_positions"] is (old == "both")


@pytest.mark.parametrize("verb", ["show", "check"])
def test_a_command_accepts_a_former_name_and_gives_the_new_one_on_standard_error(verb: str) -> None:
    done = CliRunner().invoke(app, ["judge", verb, "helpfulness-reasoning", "--json"])
    assert done.exit_code == 0
    line = "rlaif: judge: helpfulness-reasoning is now called helpfulness:reasoning; the old name still works"
    assert done.stderr.splitlines() == [line]
    found = json.loads(done.stdout)
    assert found == [] if verb == "check" else found["sha"] == RECORDED["helpfulness-reasoning"]
