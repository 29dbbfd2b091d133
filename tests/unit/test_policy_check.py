"""Models that cannot be trained, or not as usual, are found out before a run samples anything."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, Mock

import pytest
import torch
from transformers import (
    AutoConfig,
    BertConfig,
    Gemma3Config,
    LlamaConfig,
    Phi3Config,
    Qwen3MoeConfig,
    T5Config,
)

from rlaif.errors import UserError, WorkError
from rlaif.models.trainable import check_trainable
from rlaif.recipe import LoraSection, PolicySection
from rlaif.rounds.loop import RoundLoop
from rlaif.training.kernels.self_check import choose_attention, rotary_limit
from rlaif.training.kernels.trial_model import trial_model
from rlaif.training.policy_check import check_policy, confirm_policy
from tests.families import FAMILIES

LORA = LoraSection(rank=2)
TINY = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip


def saved(folder: Path, config: Any, **changes: Any) -> str:
    """Write a model's config alone: the check reads nothing else."""
    (folder / "config.json").write_text(json.dumps({**config.to_dict(), **changes}))
    return str(folder)


def family(name: str) -> Any:
    return next(family for family in FAMILIES if family.name == name).config()


@pytest.mark.parametrize("place", ["config", "text_config"])
def test_quantized_weights_are_refused_by_name(tmp_path: Path, place: str) -> None:
    quantized = {"quantization_config": {"quant_method": "mxfp4"}}
    changes = quantized if place == "config" else {"text_config": quantized}
    with pytest.raises(UserError, match=r"its weights are quantized \(mxfp4\) and cannot be trained; expected"):
        check_trainable(saved(tmp_path, LlamaConfig(**TINY), **changes))


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="t5 is an encoder-decoder; expected a causal language model"):
        check_trainable(saved(tmp_path, T5Config(is_encoder_decoder=True)))


def test_a_plain_model_passes_without_a_word(tmp_path: Path) -> None:
    folder = saved(tmp_path, LlamaConfig(**TINY))
    check_trainable(folder)
    found = check_policy(folder, None, LORA)
    assert (found.error, found.notes, found.rotary_limit) == (None, (), None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"model_type": "not_yet_invented"}, "transformers does not know the architecture of its config.json"),
        (
            {"model_type": "own_kind", "auto_map": {"AutoConfig": "configuration_own.OwnConfig"}},
            "the model brings code of its own, which is never run",
        ),
    ],
)
def test_an_unknown_architecture_is_one_line(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    found = check_policy(saved(tmp_path, LlamaConfig(**TINY), **changes), None, None)
    assert found.error is not None
    assert reason in found.error
    assert "\n" not in found.error


def test_a_config_without_a_causal_class_is_one_line(tmp_path: Path) -> None:
    config = AutoConfig.for_model("qwen3_vl")
    found = check_policy(saved(tmp_path, config), None, None)
    assert found.error is not None
    assert found.error.startswith("transformers cannot run qwen3_vl as a causal language model")
    assert "\n" not in found.error


def test_a_model_that_looks_ahead_is_refused(tmp_path: Path) -> None:
    found = check_policy(saved(tmp_path, BertConfig(**TINY)), None, None)
    assert found.error is not None
    assert "cannot be trained as a causal language model: an answer's log-probabilities change by" in found.error


def test_recurrent_layers_are_trained_unpacked_with_one_line(tmp_path: Path) -> None:
    (note,) = check_policy(saved(tmp_path, family("Falcon-H1")), None, None).notes
    assert note.startswith("trained unpacked, each answer after a prompt of its own: packed, its answers'")


def test_what_an_adapter_leaves_as_it_is_is_said(tmp_path: Path) -> None:
    experts = Qwen3MoeConfig(**TINY, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16)
    assert check_policy(saved(tmp_path, experts), None, LORA).notes == (
        "the adapter trains k_proj, o_proj, q_proj, v_proj; layers with experts are left as they are",
    )


def test_an_adapter_trains_the_text_model_of_one_with_a_vision_tower(tmp_path: Path) -> None:
    vision = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = Gemma3Config(text_config={**TINY, "head_dim": 8, "num_key_value_heads": 2}, vision_config=vision)
    found = check_policy(saved(tmp_path, config), None, LORA)
    assert found.error is None
    assert found.notes == ("the adapter trains the text model; left as it is: model.vision_tower",)


def test_targets_that_no_module_has_are_one_line(tmp_path: Path) -> None:
    found = check_policy(saved(tmp_path, LlamaConfig(**TINY)), None, LoraSection(targets=["q_prj"]))
    assert found.error is not None
    assert found.error.startswith("training.lora.targets: Target modules {'q_prj'} not found")


def test_sequences_beyond_the_first_rotary_angles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path, family("Phi-3, beyond its first context"))

    async def here(function: Any, *, gpu: bool) -> Any:
        return function()

    monkeypatch.setattr("rlaif.training.worker.run_once", here)
    confirm = confirm_policy(PolicySection(model=folder, max_length=33), None, print)
    with pytest.raises(UserError, match=r"policy\.max_length: 33 tokens, but .* beyond 32: .* at most 32"):
        asyncio.run(confirm)
    asyncio.run(confirm_policy(PolicySection(model=folder, max_length=32), None, print))


def test_the_limit_of_rotary_angles() -> None:
    assert rotary_limit(LlamaConfig(**TINY)) is None
    assert rotary_limit(Phi3Config()) is None
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert rotary_limit(LlamaConfig(**TINY, max_position_embeddings=64, rope_parameters=dynamic)) == 64


def test_a_trial_has_every_kind_of_layer_and_is_small() -> None:
    large = AutoConfig.for_model(
        "gemma3_text", hidden_size=5376, num_hidden_layers=62, num_attention_heads=32, num_key_value_heads=16,
        head_dim=128, intermediate_size=21504, sliding_window=1024,
    )  # fmt: skip
    model = trial_model(large, torch.device("cpu"))
    assert set(model.config.layer_types) == {"full_attention", "sliding_attention"}
    assert model.config.sliding_window == 8
    assert (model.config.num_attention_heads, model.config.num_key_value_heads, model.config.head_dim) == (4, 2, 128)
    assert sum(weight.numel() for weight in model.parameters()) < 10_000_000
    assert large.num_hidden_layers == 62


def test_a_trial_of_grouped_experts_has_both_kinds_of_layer_and_few_experts() -> None:
    """Of DeepSeek-V3's 61 layers the first three are dense, and its 256 experts form eight groups."""
    large = AutoConfig.for_model("deepseek_v3", hidden_size=512, moe_intermediate_size=512, intermediate_size=512)
    assert (large.first_k_dense_replace, large.n_routed_experts, large.n_group) == (3, 256, 8)
    model = trial_model(large, torch.device("cpu"))
    assert [type(layer.mlp).__name__ for layer in model.model.layers] == ["DeepseekV3MLP", "DeepseekV3MoE"]
    assert model.config.n_routed_experts == 4


def test_a_trial_with_full_widths_is_refused_where_it_would_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: Any) -> Any:
        raise ValueError("the heads do not fit")

    monkeypatch.setattr("rlaif.training.kernels.trial_model._narrow", refuse)
    large = LlamaConfig(hidden_size=16384, intermediate_size=53248, num_attention_heads=128, num_hidden_layers=126)
    with pytest.raises(WorkError) as refused:
        choose_attention(large, torch.device("cpu"))
    assert str(refused.value) == (
        "llama cannot be tried with narrow layers (the heads do not fit), and 2 of its own have 7.4 billion weights, "
        "more than the 1.1 that are tried"
    )
    assert trial_model(LlamaConfig(**TINY), torch.device("cpu")).config.hidden_size == 32


def test_a_trial_keeps_the_types_of_token_ids_within_its_vocabulary() -> None:
    large = LlamaConfig(**TINY | {"vocab_size": 128_256}, pad_token_id=128_004, eos_token_id=[128_001, 128_009, 7])
    small = trial_model(large, torch.device("cpu")).config
    assert (small.vocab_size, small.pad_token_id, small.eos_token_id) == (256, 255, [255, 255, 7])


def test_nothing_is_asked_of_engines_before_the_policy_is_known_to_be_trainable() -> None:
    asked: list[str] = []

    class Pool:
        running = True

        async def update(self, policy: object) -> None:
            asked.append("update")

    class Pools:
        policy = Pool()

        async def start(self, pools: object) -> None:
            asked.append("start")

    async def refused() -> None:
        raise UserError("my/model: cannot be trained")

    async def load() -> None:
        check = asyncio.create_task(refused())
        rest: Any = Mock(heldout=())
        pools: Any = Pools()
        loop = RoundLoop(
            MagicMock(),
            rest,
            pools,
            rest,
            judges=MagicMock(),
            progress=rest,
            emit=rest,
            policy_check=check,
            on_step=rest,
        )
        await loop._load(rest, judges=False)

    with pytest.raises(UserError, match="my/model: cannot be trained"):
        asyncio.run(load())
    assert asked == ["start"]
