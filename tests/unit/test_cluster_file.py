"""`--cluster FILE` replaces a recipe's `cluster` section."""

from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.recipe import load_recipe


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_replaces_the_recipes_own_section(here: Path) -> None:
    (here / "ours.yaml").write_text("cluster:\n  placement: split\n  policy: {engines: 2}\n")
    own, ours = load_recipe("llama-8b-8gpu"), load_recipe("llama-8b-8gpu", cluster="ours.yaml")
    assert (ours.cluster.placement, ours.cluster.policy.engines) == ("split", 2)
    # No key of the recipe's section is left, and no other section has changed.
    assert ours.cluster.judge.tensor_parallel == 1
    assert ours.model_copy(update={"cluster": own.cluster}) == own


def test_a_setting_on_the_command_line_overrides_it(here: Path) -> None:
    (here / "ours.yaml").write_text("cluster: {policy: {engines: 2}}\n")
    assert load_recipe("questions", ["cluster.policy.engines=3"], "ours.yaml").cluster.policy.engines == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policy: {engines: 2}", "one section, `cluster:`"),
        ("cluster: {}\nname: x", "one section, `cluster:`"),
        ("cluster: {policy: {engine: 2}}", "ours.yaml:1: cluster.policy.engine: unknown key"),
        ("cluster: {policy: {engines: 0}}", "ours.yaml:1: cluster.policy.engines"),
        ("cluster: [", "ours.yaml:1: not YAML"),
    ],
)
def test_a_fault_names_the_file_and_the_key(here: Path, text: str, says: str) -> None:
    (here / "ours.yaml").write_text(text)
    with pytest.raises(UserError) as refused:
        load_recipe("questions", cluster="ours.yaml")
    assert says in str(refused.value)


def test_a_missing_file_is_named(here: Path) -> None:
    with pytest.raises(UserError, match=r"--cluster ours\.yaml: no such file"):
        load_recipe("questions", cluster="ours.yaml")
