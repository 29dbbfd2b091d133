"""A run directory holds one run: a change that would mix two runs is refused by name, any other is allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlaif import __version__
from rlaif.errors import UserError
from rlaif.recipe import Recipe, dump_recipe, parse_recipe
from rlaif.rounds.former_defaults import as_begun
from rlaif.rounds.identity import begin, check_same_run, differing_keys
from rlaif.rounds.setup import Setup, prepare
from rlaif.store.rundir import RunDir
from tests.chat_templates import QWEN3, byte_tokenizer

WEIGHTS = "a" * 64

RECIPE = """
policy: {model: "builtin:smollm2-135m", prompt: ./ask.md}
questions:
  train: {type: file, path: train.jsonl}
  heldout: {type: file, path: heldout.jsonl}
judge: {name: ./mine.yaml}
training: {beta: 0.1, lora: {rank: 16}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with everything that the recipe names."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text('{"id": "1", "question": "What was revenue?", "gold_answer": "$1"}\n')
    (tmp_path / "heldout.jsonl").write_text('{"id": "2", "question": "What was profit?", "gold_answer": "$2"}\n')
    (tmp_path / "mine.yaml").write_text("kind: reference\ntolerance: 0.01\n")
    write_prompt(tmp_path, "Answer in a few words.")
    return tmp_path


def write_prompt(folder: Path, instruction: str) -> None:
    parts = f"{instruction}\n{{{{ context }}}}\n{{{{ question }}}}"
    (folder / "ask.md").write_text(f"---\nkind: answer\n---\n{{% block user %}}{parts}{{% endblock %}}\n")


def recipe_of(*overrides: str) -> Recipe:
    return parse_recipe(RECIPE, "mine.yaml", ["name=mine", *overrides])


def setup_of(*overrides: str) -> Setup:
    return prepare(recipe_of(*overrides), "runs")


@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model with a template that can think, without weights."""
    byte_tokenizer(QWEN3).save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "config.json").write_text("{}")
    return str(tmp_path / "model")


def begun(*overrides: str) -> tuple[RunDir, Setup]:
    setup = setup_of(*overrides)
    run = RunDir(setup.path)
    begin(run, setup, WEIGHTS)
    return run, setup


def refusal(run: RunDir, setup: Setup) -> str:
    with pytest.raises(UserError) as refused:
        check_same_run(run, setup)
    message = str(refused.value)
    assert message.startswith(f"{run.root} holds a run of another recipe; continuing would mix the two. What differs:")
    assert "\n" not in message
    return message.split("What differs: ")[1].split(". Use another name (--set name=...)")[0]


def test_a_new_run_has_not_begun_and_a_begun_one_continues(here: Path) -> None:
    setup = setup_of()
    run = RunDir(setup.path)
    assert not check_same_run(run, setup)
    begin(run, setup, WEIGHTS)
    assert check_same_run(run, setup_of())


def test_other_arguments_of_the_chat_template_are_another_run(here: Path, model: str) -> None:
    run, _ = begun(f"policy.model={model}")
    thinks = setup_of(f"policy.model={model}", "policy.chat_template_kwargs={enable_thinking: false}")
    assert refusal(run, thinks) == "policy.chat_template_kwargs.enable_thinking (None -> False)"


def test_another_chat_template_is_another_run(here: Path, model: str) -> None:
    run, _ = begun(f"policy.model={model}")
    Path(model, "chat_template.jinja").write_text(QWEN3 + "{# changed #}")
    assert refusal(run, setup_of(f"policy.model={model}")) == "the chat template of policy.model"
    record = run.record()
    assert record is not None
    run.write_record(record.model_copy(update={"policy": record.policy.model_copy(update={"chat_template_sha": None})}))
    assert check_same_run(run, setup_of(f"policy.model={model}"))


def test_a_run_from_before_there_were_such_arguments_continues(here: Path) -> None:
    run, setup = begun()
    path = Path(run.path("recipe.yaml"))
    tree = yaml.safe_load(path.read_text())
    del tree["policy"]["chat_template_kwargs"]
    path.write_text(yaml.safe_dump(tree))
    assert check_same_run(run, setup)


def test_the_identity_that_a_run_records(here: Path) -> None:
    run, setup = begun()
    record = run.record()
    assert record is not None
    assert (record.name, record.rlaif, record.seed, record.state) == ("mine", __version__, 0, "running")
    template = setup.answer_template
    assert record.policy.model_dump() == {
        "model": "builtin:smollm2-135m", "id": WEIGHTS, "base": None, "template": "ask", "template_sha": template.sha,
        "chat_template_sha": None,
    }  # fmt: skip
    assert record.judge.sha == setup.judge.sha
    assert record.judge.model_dump() == {**record.judge.model_dump(), **setup.judge.describe()}
    assert {name: part.count for name, part in record.questions.items()} == {"train": 1, "heldout": 1}
    assert "pyarrow" in record.versions
    assert parse_recipe(run.recipe_text() or "", "recipe.yaml") == setup.recipe


@pytest.mark.parametrize(
    ("overrides", "differs"),
    [
        (["training.beta=0.2"], "training.beta (0.1 -> 0.2)"),
        (["training.lora.rank=8"], "training.lora.rank (16 -> 8)"),
        (["seed=5"], "seed (0 -> 5)"),
        (["rounds.questions=10"], "rounds.questions (1.0 -> 10)"),
        (["sampling.candidates=6", "sampling.top_p=0.9"], "sampling.candidates (4 -> 6); sampling.top_p (1.0 -> 0.9)"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(here: Path, overrides: list[str], differs: str) -> None:
    run, _ = begun()
    assert refusal(run, setup_of(*overrides)) == differs


def test_a_section_that_comes_or_goes_is_named(here: Path) -> None:
    run, _ = begun()
    assert refusal(run, setup_of("training.lora=null")).startswith("training.lora ({")


@pytest.mark.parametrize(
    "override",
    [
        "cluster.policy.engines=4",
        "cluster.device=cpu",
        "rounds.count=9",
        "rounds.gate.max_drop=0.1",
        "sampling.in_flight=3",
        "sampling.attempts=1",
        "sampling.shard_questions=2",
        "training.max_tokens_per_pack=4096",
        "training.gradient_checkpointing=true",
        "training.checkpoint_steps=5",
    ],
)
def test_how_fast_and_how_far_may_change(here: Path, override: str) -> None:
    run, _ = begun()
    changed = setup_of(override)
    assert check_same_run(run, changed)
    begin(run, changed, WEIGHTS)
    assert parse_recipe(run.recipe_text() or "", "recipe.yaml") == changed.recipe


def _judge(here: Path) -> None:
    (here / "mine.yaml").write_text("kind: reference\ntolerance: 0.02\n")


def _prompt(here: Path) -> None:
    write_prompt(here, "Answer at length.")


def _train(here: Path) -> None:
    (here / "train.jsonl").write_text('{"id": "1", "question": "What was revenue?", "gold_answer": "$3"}\n')


def _heldout(here: Path) -> None:
    with (here / "heldout.jsonl").open("a") as file:
        file.write('{"id": "3", "question": "What was tax?"}\n')


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        (_judge, "the judge or one of its prompts"),
        (_prompt, "the policy's prompt file"),
        (_train, "the train questions"),
        (_heldout, "the held-out questions"),
    ],
)
def test_a_changed_file_is_named(here: Path, change: Callable[[Path], None], differs: str) -> None:
    """The recipe's text is the same, but a file that it names is not."""
    run, _ = begun()
    change(here)
    assert refusal(run, setup_of()) == differs


def test_scores_of_two_ways_to_read_answers_are_not_mixed(here: Path) -> None:
    run, setup = begun()
    record = run.record()
    assert record is not None
    run.write_record(record.model_copy(update={"grading": record.grading - 1}))
    assert refusal(run, setup) == "how answers are compared with gold answers"


def test_a_comment_in_the_judges_file_changes_nothing(here: Path) -> None:
    run, _ = begun()
    (here / "mine.yaml").write_text("# exact\nkind: reference\ntolerance: 0.01\n")
    assert check_same_run(run, setup_of())


def test_all_differences_are_named_at_once(here: Path) -> None:
    run, _ = begun()
    _judge(here)
    assert refusal(run, setup_of("seed=1")) == "seed (0 -> 1); the judge or one of its prompts"


def test_a_key_that_an_earlier_version_did_not_know_counts_as_its_default(here: Path) -> None:
    run, _ = begun()
    older = yaml.safe_load(run.recipe_text() or "")
    del older["training"]["sft_weight"], older["evaluation"]
    run.write_recipe(yaml.safe_dump(older))
    assert check_same_run(run, setup_of())
    assert refusal(run, setup_of("training.sft_weight=0.1")) == "training.sft_weight (0.0 -> 0.1)"


def test_a_key_that_a_later_version_knows_is_named(here: Path) -> None:
    run, _ = begun()
    later = yaml.safe_load(run.recipe_text() or "")
    later["training"]["optimizer"] = "muon"
    run.write_recipe(yaml.safe_dump(later))
    assert refusal(run, setup_of()) == "training.optimizer ('muon' -> None)"


def test_other_weights_under_the_same_name_are_refused(here: Path) -> None:
    run, setup = begun()
    begin(run, setup, WEIGHTS)
    with pytest.raises(
        UserError, match=r"began with weights aaaaaaaaaaaa of builtin:smollm2-135m, but .* bbbbbbbbbbbb"
    ):
        begin(run, setup, "b" * 64)


def test_nothing_is_written_to_a_refused_run(here: Path) -> None:
    run, _ = begun()
    before = {path: path.read_bytes() for path in Path(run.root).rglob("*") if path.is_file()}
    refusal(run, setup_of("seed=1"))
    assert before == {path: path.read_bytes() for path in Path(run.root).rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("old", "new", "keys"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, ["a (1 -> 2)"]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, ["a.c (2 -> 3)"]),
        ({"a": {"b": 1}}, {"a": None}, ["a ({'b': 1} -> None)"]),
        ({}, {"a": [1]}, ["a (None -> [1])"]),
        # What an endpoint charges and how it is reached decide no verdict.
        (
            {"judge": {"backend": {"headers": {"A": "${X}"}, "max_error_share": 0.5, "model": "m", "prices": None}}},
            {"judge": {"backend": {"headers": {}, "max_error_share": 1.0, "model": "n", "prices": {"prompt": 1.0}}}},
            ["judge.backend.model ('m' -> 'n')"],
        ),
        # Only the whole key is free, not whatever begins or ends like it.
        ({"rounds": {"counts": 1}, "policy": {"name": "x"}}, {}, ["policy ({'name': 'x'} -> None)"]),
    ],
)
def test_differing_keys(old: dict[str, Any], new: dict[str, Any], keys: list[str]) -> None:
    found = differing_keys(old, new)
    assert [key for key in found if not key.startswith("rounds")] == keys
    assert any(key.startswith("rounds") for key in found) == ("rounds" in old)


def test_the_resolved_recipe_differs_from_itself_in_nothing() -> None:
    tree = recipe_of().model_dump(mode="json")
    assert differing_keys(tree, json.loads(json.dumps(tree))) == []
    assert differing_keys(tree, yaml.safe_load(dump_recipe(recipe_of()))) == []


def begun_before_the_defaults_changed() -> tuple[RunDir, Setup]:
    """A run whose `recipe.yaml` has neither `pairs.truncated` nor `rounds.gate.confidence`."""
    run, setup = begun()
    tree = yaml.safe_load(run.recipe_text() or "")
    del tree["pairs"]["truncated"], tree["rounds"]["gate"]["confidence"]
    run.write_recipe(yaml.safe_dump(tree))
    return run, setup


def test_a_run_keeps_the_defaults_that_it_began_with(here: Path) -> None:
    run, setup = begun_before_the_defaults_changed()
    for _ in range(2):  # The first start writes them down; the second reads them.
        resumed = as_begun(run, setup)
        assert (resumed.recipe.pairs.truncated, resumed.recipe.rounds.gate.confidence) == ("allow", None)
        assert check_same_run(run, resumed)
        begin(run, resumed, WEIGHTS)
    assert as_begun(RunDir(str(here / "none")), setup) == setup
    assert (setup.recipe.pairs.truncated, setup.recipe.rounds.gate.confidence) == ("never_chosen", 0.9)


def test_a_changed_default_that_the_recipe_sets_is_a_change(here: Path) -> None:
    run, _ = begun_before_the_defaults_changed()
    asked = as_begun(run, setup_of("pairs.truncated=leave_out", "rounds.gate.confidence=0.95"))
    assert refusal(run, asked) == "pairs.truncated ('allow' -> 'leave_out')"
    gate = as_begun(run, setup_of("rounds.gate.confidence=0.95"))
    assert check_same_run(run, gate)  # When a policy is promoted may change.
    assert gate.recipe.rounds.gate.confidence == 0.95
