"""Recipes: each fault is refused with the key's path and the expected value; a written recipe reads back the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rlaif.errors import UserError
from rlaif.recipe import DemoQuestions, FileQuestions, Recipe, dump_recipe, load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))

SMALLEST = """
policy: {model: "builtin:smollm2-135m"}
questions:
  train: {type: file, path: train.jsonl}
  heldout: {type: demo, split: heldout}
judge: {name: reference}
"""


def parse(*overrides: str) -> Recipe:
    return parse_recipe(SMALLEST, "mine.yaml", list(overrides))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_projects_recipes_are_valid_and_read_back_the_same(path: Path) -> None:
    recipe = load_recipe(str(path))
    assert recipe.name == path.stem
    assert parse_recipe(dump_recipe(recipe), "recipe.yaml") == recipe


def test_a_recipe_is_found_by_name_or_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SMALLEST)
    assert load_recipe("mine.yaml") == load_recipe("./mine.yaml")
    assert load_recipe("demo").name == "demo"
    with pytest.raises(UserError, match=r"^mine: no recipe by that name or path; those here: .*demo"):
        load_recipe("mine")
    with pytest.raises(UserError, match=r"^\./other\.yaml: no such file$"):
        load_recipe("./other.yaml")


def test_a_recipe_is_named_after_its_file_unless_it_has_a_name(tmp_path: Path) -> None:
    path = tmp_path / "quarterly.yaml"
    path.write_text(SMALLEST)
    assert load_recipe(str(path)).name == "quarterly"
    path.write_text(SMALLEST + "name: mine\n")
    assert load_recipe(str(path)).name == "mine"
    assert load_recipe(str(path), ["name=again"]).name == "again"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("colour=red", "colour: unknown key"),
        ("training.bata=0.1", "training.bata: unknown key"),
        ("cluster.policy.gpus=1", "cluster.policy.gpus: unknown key"),
        # A source's type is a tag in the tree, not a key that the user wrote.
        ("questions.train.colum=x", "questions.train.colum: unknown key"),
        ("questions.train.columns.q=x", "questions.train.columns.q: unknown key"),
        ("training.beta=soft", "training.beta: expected a valid number"),
        ("training.beta=soft", "(got 'soft')"),
        ("training.beta=0", "training.beta: expected greater than 0"),
        ("sampling.candidates=1", "sampling.candidates: expected greater than or equal to 2 (got 1)"),
        ("sampling.candidates=2.5", "sampling.candidates: expected a valid integer"),
        ("training.loss=dpo", "training.loss: expected 'sigmoid'"),
        ("questions.train.path=null", "questions.train.path: expected a valid string"),
        ("questions.heldout.split=test", "questions.heldout.split: expected 'train' or 'heldout' (got 'test')"),
        ("judge={}", "judge.name: missing; expected a value"),
        ("policy=null", "policy: "),
        ("questions.train.type=web", "questions.train.type: expected one of "),
        ("questions.train.type=web", "'web'"),
        ("name=a/b", "name: string should match pattern"),
    ],
)
def test_a_fault_is_named_by_its_path(override: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(override)
    message = str(refused.value)
    assert message.startswith("--set: ")
    assert says in message
    assert "\n" not in message


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(UserError, match=r"training\.bata: unknown key; .*sampling\.top_k: unknown key|top_k.*bata"):
        parse("training.bata=1", "sampling.top_k=5")


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["sampling.max_tokens=2048"], "sampling.max_tokens (2048) leaves no room for a prompt in policy.max_length"),
        (["policy.max_length=256"], "sampling.max_tokens (256) leaves no room"),
        (["evaluation.max_tokens=4096"], "evaluation.max_tokens (4096) leaves no room"),
        (["cluster.judge.tensor_parallel=2", "cluster.device=cpu"], "tensor_parallel above 1 needs GPUs"),
        (["rounds.staleness=1"], "engines and trainer take turns with cluster.placement: shared; expected split"),
        (["training.loss=ipo", "training.label_smoothing=0.1"], "label_smoothing does nothing to the loss ipo"),
        (["training.loss=robust"], "loss robust without label_smoothing is sigmoid"),
        (["training.simpo_gamma=0.5"], "simpo_gamma does nothing to the loss sigmoid; expected simpo"),
        (["training.loss=simpo", "training.label_smoothing=0.1"], "label_smoothing does nothing to the loss simpo"),
        (["training.loss=simpo", "training.reference=initial"], "reference does nothing to the loss simpo"),
        (["training.loss=simpo", "training.max_mismatch=0.2"], "max_mismatch does nothing to the loss simpo"),
        (["training.loss=ipo", "training.length_penalty=0.1"], "length_penalty is of whole answers"),
        (["training.loss=simpo", "training.ld_alpha=0.5"], "ld_alpha is of whole answers"),
        (["training.ld_alpha=1"], "training.ld_alpha: expected less than 1"),
        (["training.ld_alpha=0.5", "training.max_mismatch=0.2"], "max_mismatch does nothing with ld_alpha"),
        (["rounds.questions=[]"], "questions: an empty list"),
        (["rounds.questions=[10]"], "1 increments for 2 rounds; expected one each"),
        (["rounds.questions=0"], "expected a count of at least 1"),
        (["rounds.questions=1.5"], "1.5 is no share"),
        (["rounds.questions=[0.5, -0.1]"], "-0.1 is no share"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(*overrides)
    assert says in str(refused.value)


def test_settings_at_their_bounds_work_together() -> None:
    assert parse("sampling.max_tokens=2047").sampling.max_tokens == 2047
    assert parse("rounds.questions=[0.5, 32]").rounds.questions == [0.5, 32]
    assert parse("cluster.training.strategy=fsdp", "cluster.device=cpu").cluster.training.strategy == "fsdp"
    assert parse("training.loss=robust", "training.label_smoothing=0.1").training.loss == "robust"
    assert parse("training.loss=simpo", "training.simpo_gamma=0").training.simpo_gamma == 0


def test_overrides_reach_any_depth_and_the_last_one_wins() -> None:
    recipe = parse(
        "training.beta=0.3",
        "training.beta=0.2",
        "training.lora.rank=8",
        "cluster.policy.engines=4",
        "questions.heldout.count=7",
        "questions.train={type: demo, count: 5}",
    )
    assert recipe.training.beta == 0.2
    assert recipe.training.lora is not None
    assert recipe.training.lora.rank == 8
    assert recipe.cluster.policy.engines == 4
    assert recipe.questions.heldout == DemoQuestions(split="heldout", count=7)
    assert recipe.questions.train == DemoQuestions(count=5)


def test_an_override_of_a_mapping_replaces_it() -> None:
    source = parse("questions.train={type: file, path: other.csv}", "questions.train.limit=3").questions.train
    assert source == FileQuestions(path="other.csv", limit=3)


@pytest.mark.parametrize(
    ("value", "means"),
    [("1e-5", 1e-5), ("1.0e-5", 1e-5), ("0.00001", 1e-5), ("5E-4", 5e-4), ("1", 1.0)],
)
def test_a_number_with_an_exponent_is_a_number(value: str, means: float) -> None:
    """YAML 1.1 reads 1e-5 as a text, YAML 1.2 as a number."""
    assert parse(f"training.learning_rate={value}").training.learning_rate == means
    written = parse_recipe(SMALLEST + f"training: {{learning_rate: {value}}}\n", "mine.yaml")
    assert written.training.learning_rate == means


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.beta", "--set training.beta: expected KEY=VALUE with a dotted key"),
        ("=3", "--set =3: expected KEY=VALUE"),
        ("training..beta=3", "expected KEY=VALUE"),
        ("seed.x=1", "seed holds a value, not a section"),
        ("training.beta=[1", "--set training.beta=[1: the value is not YAML"),
        ("name=2026-13-45", "--set name=2026-13-45: the value is not YAML"),
    ],
)
def test_a_malformed_override_is_refused(override: str, says: str) -> None:
    with pytest.raises(UserError) as refused:
        parse("seed=1", override)
    assert says in str(refused.value)


def test_a_file_that_is_not_a_recipe_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"^mine\.yaml:3: not YAML: "):
        parse_recipe("policy:\n  model: x\n bad: [\n", "mine.yaml")
    for text in ("name: \0", "name: 2026-13-45", "name: " + "[" * 5000):
        with pytest.raises(UserError, match=r"^mine\.yaml:1: not YAML: .*$"):
            parse_recipe(text, "mine.yaml")
    for text in ("", "[]", "just words", "3"):
        with pytest.raises(UserError, match=r"^mine\.yaml:1: expected keys with values"):
            parse_recipe(text, "mine.yaml")


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(b"name: caf\xe9\n")
    with pytest.raises(UserError, match="not UTF-8"):
        load_recipe(str(path))


def test_a_recipe_does_not_change() -> None:
    recipe = parse()
    with pytest.raises(ValidationError, match="frozen"):
        recipe.training.beta = 0.5  # type: ignore[misc]  # frozen


_leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_tree = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


@given(key=st.sampled_from(sorted(Recipe.model_fields)), value=_tree)
def test_any_value_of_a_section_gives_a_recipe_or_one_message(key: str, value: Any) -> None:
    text = yaml.safe_dump({**yaml.safe_load(SMALLEST), key: value}, allow_unicode=True)
    recipe = recipe_or_message(lambda: parse_recipe(text, "mine.yaml"), "mine.yaml")
    assert isinstance(recipe, str) or parse_recipe(dump_recipe(recipe), "recipe.yaml") == recipe


@given(st.text(max_size=60))
def test_any_override_gives_a_recipe_or_one_message(override: str) -> None:
    recipe_or_message(lambda: parse(override), "mine.yaml", "--set")


def recipe_or_message(make: Callable[[], Recipe], *names: str) -> Recipe | str:
    """Return the recipe, or the message, which begins with one of the names."""
    try:
        return make()
    except UserError as error:
        message = str(error)
    assert message.startswith(names)
    return message


def test_a_duplicate_key_is_refused_with_its_line() -> None:
    with pytest.raises(UserError, match=r"^x\.yaml:4: training\.beta: duplicate key$"):
        parse_recipe("training:\n  beta: 0.1\n  loss: ipo\n  beta: 0.2\n", "x.yaml")
