"""Exact parameter counts of published models, and the memory of engines and trainers against real tensors."""

import json
from pathlib import Path
from typing import Literal

import pytest

from rlaif.errors import UserError
from rlaif.models.shape import ModelShape, model_shape, published_shape
from rlaif.planning.memory import Memory, activation_bytes_per_token, engine_memory, kv_bytes_per_token, trainer_memory
from rlaif.recipe import LoraSection, TrainersSection, TrainingSection

LLAMA = published_shape("meta-llama/Llama-3.1-8B-Instruct", "offline")

# As the publishers' own safetensors files count them.
PARAMETERS = {
    "HuggingFaceTB/SmolLM2-135M-Instruct": 134_515_008,
    "HuggingFaceTB/SmolLM2-360M-Instruct": 361_821_120,
    "HuggingFaceTB/SmolLM2-1.7B-Instruct": 1_711_376_384,
    "meta-llama/Llama-3.2-1B-Instruct": 1_235_814_400,
    "meta-llama/Llama-3.2-3B-Instruct": 3_212_749_824,
    "meta-llama/Llama-3.1-8B-Instruct": 8_030_261_248,
    "meta-llama/Llama-3.1-70B-Instruct": 70_553_706_496,
    "mistralai/Mistral-7B-Instruct-v0.3": 7_248_023_552,
    "Qwen/Qwen2.5-0.5B-Instruct": 494_032_768,
    "Qwen/Qwen2.5-1.5B-Instruct": 1_543_714_304,
    "Qwen/Qwen2.5-3B-Instruct": 3_085_938_688,
    "Qwen/Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen/Qwen2.5-14B-Instruct": 14_770_033_664,
    "Qwen/Qwen2.5-32B-Instruct": 32_763_876_352,
    "Qwen/Qwen2.5-72B-Instruct": 72_706_203_648,
    "Qwen/Qwen3-8B": 8_190_735_360,
    "Qwen/Qwen3-14B": 14_768_307_200,
    "Qwen/Qwen3-32B": 32_762_123_264,
}


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameters_are_those_of_the_publisher(model: str) -> None:
    assert published_shape(model, "offline").parameters == PARAMETERS[model]


def test_the_built_in_model_needs_no_hub() -> None:
    shape = model_shape("builtin:smollm2-135m")
    assert shape.parameters == 134_515_008
    assert shape.source == "built in"


def test_a_directory_is_read_from_its_config(tmp_path: Path) -> None:
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 128, "tie_word_embeddings": True,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert model_shape(str(tmp_path)) == ModelShape(3, 64, 96, 4, 2, 16, 128, tied_embeddings=True)


def test_a_mixture_of_experts_is_refused(tmp_path: Path) -> None:
    config = {"model_type": "mixtral", "num_local_experts": 8}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="mixture of experts"):
        model_shape(str(tmp_path))


def test_an_unreachable_model_comes_from_the_table_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    shape = model_shape("meta-llama/Llama-3.1-8B-Instruct")
    assert shape == LLAMA
    with pytest.raises(UserError, match="its shape is unknown"):
        model_shape("nobody/has-this-model")


def test_the_kv_cache_of_llama_8b() -> None:
    assert kv_bytes_per_token(LLAMA, 2) == 2 * 32 * 8 * 128 * 2
    assert kv_bytes_per_token(LLAMA, 2, tensor_parallel=4) == kv_bytes_per_token(LLAMA, 2) // 4
    # Sixteen devices cannot split eight heads: each holds one.
    assert kv_bytes_per_token(LLAMA, 2, tensor_parallel=16) == kv_bytes_per_token(LLAMA, 2) // 8


def test_a_lora_adapter_of_llama_8b() -> None:
    assert LLAMA.lora_parameters(16, "all-linear") == 41_943_040
    assert LLAMA.lora_parameters(16, ["q_proj", "v_proj"]) == 6_815_744


def test_full_training_takes_sixteen_bytes_a_parameter() -> None:
    memory = _trainer(None, "ddp", 1, gpu=False)
    held = memory.weights + memory.gradients + memory.optimizer
    assert held == 16 * LLAMA.parameters


def test_sharding_divides_held_weights_and_not_gathered_ones() -> None:
    eight, sixteen = _trainer(None, "fsdp", 8), _trainer(None, "fsdp", 16)
    assert eight.optimizer == 2 * sixteen.optimizer
    assert eight.weights < 2 * sixteen.weights
    assert eight.activations == sixteen.activations


def test_an_adapter_needs_no_moments_for_the_base() -> None:
    full, adapter = _trainer(None, "ddp", 1), _trainer(LoraSection(rank=16), "ddp", 1)
    assert adapter.optimizer == 8 * 41_943_040
    assert adapter.total < full.total / 4


def test_checkpointing_keeps_one_layer_at_a_time() -> None:
    kept, recomputed = _trainer(LoraSection(), "ddp", 1), _trainer(LoraSection(), "ddp", 1, checkpointing=True)
    assert recomputed.activations < kept.activations / 4


def test_an_engine_splits_its_weights() -> None:
    def weights(parallel: int) -> int:
        return engine_memory(
            LLAMA, dtype_bytes=2, tensor_parallel=parallel, max_num_seqs=64, lora_rank=None, gpu=True
        ).weights

    assert weights(1) == 2 * LLAMA.parameters
    assert weights(4) == weights(1) // 4


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("lora", [False, True])
def test_activations_are_the_tensors_that_autograd_keeps(autocast: bool, lora: bool) -> None:
    """The difference between a real model of four layers and one of two is two layers' activations."""
    shape = ModelShape(1, 256, 768, 8, 2, 32, 512, tied_embeddings=False)
    # One block; unlike any size of the model, so that activations differ from copies of weights in shape.
    tokens = 120
    four, two = (_kept(shape, layers, tokens, autocast, lora) for layers in (4, 2))
    measured = (four - two) / 2 / tokens
    expected = activation_bytes_per_token(shape, autocast=autocast, lora=lora)
    assert measured == pytest.approx(expected, rel=0.05)


def _kept(shape: ModelShape, layers: int, tokens: int, autocast: bool, lora: bool) -> int:
    """Return the bytes of distinct activations that a forward pass leaves for the backward pass."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig

    from rlaif.training.kernels.attention import Attention, set_attention
    from rlaif.training.kernels.cpu_layers import use_cpu_layers
    from rlaif.training.kernels.layout import plain_layout

    config = LlamaConfig(
        num_hidden_layers=layers,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocab,
    )
    dtype = torch.bfloat16 if autocast and lora else torch.float32
    model = AutoModelForCausalLM.from_config(config, dtype=dtype)
    set_attention(model, Attention("groups"))
    if lora:
        model = get_peft_model(model, LoraConfig(r=1, target_modules="all-linear", task_type="CAUSAL_LM"))
    if not autocast:
        use_cpu_layers(model)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # Autocast's copies of weights are leaves of their own; an activation depends on the tokens.
        if tensor.untyped_storage().data_ptr() not in weights and tokens in tensor.shape:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    layout = plain_layout(tokens, torch.device("cpu"))
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        model(
            input_ids=torch.zeros(1, tokens, dtype=torch.long),
            position_ids=torch.arange(tokens)[None],
            layout=layout,
            logits_to_keep=torch.zeros(1, dtype=torch.long),
            use_cache=False,
        )
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _trainer(
    lora: LoraSection | None,
    strategy: Literal["ddp", "fsdp"],
    workers: int,
    *,
    checkpointing: bool = False,
    gpu: bool = True,
) -> Memory:
    return trainer_memory(
        LLAMA,
        TrainingSection(lora=lora, gradient_checkpointing=checkpointing),
        TrainersSection(strategy=strategy, workers=workers),
        dtype_bytes=2,
        row_tokens=2048,
        answer_tokens=512,
        gpu=gpu,
    )
