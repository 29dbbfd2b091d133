"""A hub model's revision decides which of its files are read, by the snapshots that downloads leave."""

import json
from pathlib import Path

import pytest

from rlaif.errors import UserError
from rlaif.evaluation.answering import policy_of_model
from rlaif.models.resolve import check_model, config_file
from rlaif.models.trainable import check_trainable

COMMITS = {"main": "0" * 40, "quantized": "1" * 40}


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models--someone--revised"
    for name, commit in COMMITS.items():
        settings = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
        if name == "quantized":
            settings["quantization_config"] = {"quant_method": "mxfp4"}  # type: ignore[assignment]
        folder = repository / "snapshots" / commit
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / name).write_text(commit, encoding="utf-8")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_the_config_is_that_of_the_revision() -> None:
    for name, commit in COMMITS.items():
        assert f"/{commit}/" in (config_file("someone/revised", name) or "")
    assert config_file("someone/revised") == config_file("someone/revised", "main")
    check_trainable("someone/revised")
    with pytest.raises(UserError, match=r"its weights are quantized \(mxfp4\)"):
        check_trainable("someone/revised", "quantized")


def test_a_revision_that_is_not_there_is_refused() -> None:
    check_model("someone/revised", "quantized")
    with pytest.raises(UserError, match=r"^someone/revised: no such model: .* not in the local cache"):
        check_model("someone/revised", "v2")


def test_the_revision_of_a_policy_that_answers_is_checked() -> None:
    policy = policy_of_model("someone/revised", ["policy.revision=quantized"])
    assert policy.settings.policy.revision == "quantized"
    with pytest.raises(UserError, match=r"^someone/revised: no such model: .* not in the local cache"):
        policy_of_model("someone/revised", ["policy.revision=v2"])
