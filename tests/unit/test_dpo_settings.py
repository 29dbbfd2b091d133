"""The settings of `rlaif train`: those of a recipe's sections, and of the adapter that a training continues."""

import json
from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.training.dpo.standalone import parse_settings


def adapter(folder: Path, **changes: object) -> str:
    config = {"base_model_name_or_path": "some/model", "r": 4, "lora_alpha": 8, "target_modules": ["v", "k"]}
    (folder / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return str(folder)


def test_a_model_trains_all_weights_unless_an_adapter_is_asked_for() -> None:
    settings, folder = parse_settings("some/model", ["training.beta=0.2", "seed=3"])
    assert (settings.policy.model, folder) == ("some/model", "")
    assert (settings.training.beta, settings.training.lora, settings.seed) == (0.2, None, 3)


def test_a_continued_adapter_keeps_its_settings(tmp_path: Path) -> None:
    settings, folder = parse_settings(adapter(tmp_path), ["training.lora.dropout=0.1"])
    assert (settings.policy.model, folder) == ("some/model", str(tmp_path))
    lora = settings.training.lora
    assert lora is not None
    assert (lora.rank, lora.alpha, lora.targets, lora.dropout) == (4, 8.0, ["k", "v"], 0.1)


@pytest.mark.parametrize("override", ["training.lora=null", "training.lora.rank=8", "training.lora.alpha=2"])
def test_an_adapter_of_another_shape_is_refused(tmp_path: Path, override: str) -> None:
    with pytest.raises(UserError, match="is an adapter of rank 4 and alpha 8; leave both out to continue it"):
        parse_settings(adapter(tmp_path), [override])


def test_an_adapter_without_its_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="base_model_name_or_path: expected the model that the adapter belongs to"):
        parse_settings(adapter(tmp_path, base_model_name_or_path=None), [])


@pytest.mark.parametrize("section", ["sampling.candidates=8", "judge.name=reference", "rounds.count=2"])
def test_a_setting_without_an_effect_is_refused(section: str) -> None:
    with pytest.raises(UserError, match=r"--set: [a-z]+: unknown key"):
        parse_settings("some/model", [section])
