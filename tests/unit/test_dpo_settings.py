"""The settings of `rlaif train`: those of a recipe's sections, and of the adapter that a training continues."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from rlaif.errors import UserError
from rlaif.models.policy_source import PolicySource, policy_source
from rlaif.models.resolve import weights_id
from rlaif.recipe import load_recipe
from rlaif.rounds.setup import with_adapter_settings
from rlaif.training.dpo.standalone import DpoSettings
from rlaif.training.policy_file import parse_settings


def adapter(folder: Path, **changes: object) -> str:
    config = {
        "peft_type": "LORA", "base_model_name_or_path": "some/model", "r": 4, "lora_alpha": 8,
        "target_modules": ["v", "k"],
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    names = [f"base_model.model.model.layers.0.{module}.lora_{side}.weight" for module in "vk" for side in "AB"]
    zeros = np.zeros((4, 4), dtype=np.float32)
    save_file(dict.fromkeys(names, zeros), folder / "adapter_model.safetensors")
    return str(folder)


def test_a_model_trains_all_weights_unless_an_adapter_is_asked_for() -> None:
    settings, folder = parse_settings(DpoSettings, "some/model", ["training.beta=0.2", "seed=3"])
    assert (settings.policy.model, folder) == ("some/model", "")
    assert (settings.training.beta, settings.training.lora, settings.seed) == (0.2, None, 3)


def test_a_continued_adapter_keeps_its_settings(tmp_path: Path) -> None:
    settings, name = parse_settings(DpoSettings, adapter(tmp_path), ["training.beta=0.2"])
    assert (settings.policy.model, name) == ("some/model", str(tmp_path))
    lora = settings.training.lora
    assert lora is not None
    assert (lora.rank, lora.alpha, lora.targets, lora.dropout) == (4, 8.0, ["k", "v"], 0.0)


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("rank=8", "rank: 8, but the adapter .* has 4; leave it out"), ("alpha=2", "alpha: 2.0, but .* has 8.0"),
        ("dropout=0.1", "dropout: 0.1, but .* has 0.0"), ("targets=[q]", r"targets: \['q'\], but .* has \['k', 'v'\]"),
    ],
)  # fmt: skip
def test_an_adapter_of_other_settings_is_refused(tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(UserError, match=rf"^--set: training\.lora\.{says}"):
        parse_settings(DpoSettings, adapter(tmp_path), [f"training.lora.{override}"])
    parse_settings(DpoSettings, adapter(tmp_path), ["training.lora.rank=4", "training.lora.targets=[v, k]"])


def test_all_weights_are_trained_from_the_merged_adapter(tmp_path: Path) -> None:
    settings, name = parse_settings(DpoSettings, adapter(tmp_path), ["training.lora=null", "training.beta=0.2"])
    assert (settings.policy.model, settings.training.lora, settings.training.beta) == (str(tmp_path), None, 0.2)
    assert name == ""


def test_a_recipe_that_continues_an_adapter_has_its_settings(tmp_path: Path) -> None:
    folder = adapter(tmp_path, lora_alpha=32)
    recipe = with_adapter_settings(load_recipe("demo", [f"policy.model={folder}", "training.lora={rank: 4}"]))
    assert recipe.training.lora is not None
    assert (recipe.training.lora.rank, recipe.training.lora.targets) == (4, ["k", "v"])
    source = policy_source(recipe.policy, recipe.training.lora)
    assert (source.model, source.adapter) == ("some/model", folder)
    assert source.policy_id() == weights_id(folder)
    with pytest.raises(UserError, match=r"^training\.lora\.rank: 16, but the adapter"):
        with_adapter_settings(load_recipe("demo", [f"policy.model={folder}", "training.lora={rank: 16}"]))
    full = load_recipe("demo", [f"policy.model={folder}", "training.lora=null"])
    assert with_adapter_settings(full) == full
    assert policy_source(full.policy, None) == PolicySource(folder, None)


def test_an_adapter_without_its_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="base_model_name_or_path: missing; expected the model that the adapter"):
        parse_settings(DpoSettings, adapter(tmp_path, base_model_name_or_path=None), [])


@pytest.mark.parametrize("section", ["sampling.candidates=8", "judge.name=reference", "rounds.count=2"])
def test_a_setting_without_an_effect_is_refused(section: str) -> None:
    with pytest.raises(UserError, match=r"--set: [a-z]+: unknown key"):
        parse_settings(DpoSettings, "some/model", [section])
