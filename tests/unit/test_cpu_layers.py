"""Layers that keep less for the backward pass have the same outputs and gradients."""

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from rlaif.training.kernels.answer_head import add_answer_head
from rlaif.training.kernels.cpu_layers import hold_cpu_gradients, use_cpu_layers

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
TOKENS = torch.arange(20).view(1, 20)
# The number of norms and MLPs: three a layer and the last norm; in Qwen3 also the norms of queries and keys.
MODELS = {
    "llama": (lambda: LlamaForCausalLM(LlamaConfig(**SIZES)), 7),
    "qwen3": (lambda: Qwen3ForCausalLM(Qwen3Config(**SIZES, head_dim=8)), 11),
}


def made(name: str) -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = MODELS[name][0]()
    with torch.no_grad():
        # A norm's initial weights are one, with which a forgotten factor would not show.
        for weight_name, weight in model.named_parameters():
            if "norm" in weight_name:
                weight.uniform_(0.5, 1.5)
            else:
                weight.mul_(10.0)
    return model


def gradients(model: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model(input_ids=TOKENS, labels=TOKENS).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_the_same(name: str) -> None:
    plain = made(name)
    ours_model = copy.deepcopy(plain)
    assert use_cpu_layers(ours_model) == MODELS[name][1]
    theirs, ours = gradients(plain), gradients(ours_model)
    assert ours.keys() == theirs.keys()
    for weight, gradient in theirs.items():
        assert (ours[weight] - gradient).norm() <= 1e-5 * gradient.norm(), weight


def test_a_norm_with_weights_of_zero_is_the_same_too() -> None:
    plain = made("llama")
    with torch.no_grad():
        plain.model.layers[0].input_layernorm.weight[3] = 0.0
        plain.model.layers[1].input_layernorm.weight[5] = 1e-9
    ours_model = copy.deepcopy(plain)
    use_cpu_layers(ours_model)
    theirs, ours = gradients(plain), gradients(ours_model)
    for weight, gradient in theirs.items():
        assert (ours[weight] - gradient).norm() <= 1e-5 * gradient.norm(), weight


def test_layers_with_an_adapter_are_left_unchanged() -> None:
    config = LoraConfig(r=2, target_modules=["up_proj"], task_type="CAUSAL_LM", init_lora_weights=False)
    torch.manual_seed(1)
    plain = get_peft_model(made("llama"), config)
    ours_model = copy.deepcopy(plain)
    assert use_cpu_layers(ours_model) == 5  # The norms.
    theirs, ours = gradients(plain), gradients(ours_model)
    assert len(theirs) == 4
    for weight, gradient in theirs.items():
        assert (ours[weight] - gradient).norm() <= 1e-5 * gradient.norm(), weight


def test_the_last_mlp_stays_narrow() -> None:
    """It keeps less too, and the log-probabilities stay the same."""
    kept, targets = torch.tensor([3, 5]), torch.tensor([7, 8])
    plain = made("llama")
    expected = plain(input_ids=TOKENS).logits[0].log_softmax(-1)[kept, targets]
    add_answer_head(plain)
    use_cpu_layers(plain)
    narrow = plain.model.layers[-1].mlp.forward
    torch.testing.assert_close(plain(input_ids=TOKENS, logits_to_keep=kept, answer_targets=targets).logps, expected)
    assert narrow.positions.tolist() == [3, 5]
    assert narrow.whole.__func__.__module__ == use_cpu_layers.__module__


def test_another_formula_is_left_unchanged() -> None:
    """Gemma's norm multiplies by one plus its weight, and its MLP uses tanh's GELU."""
    model = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8))
    assert use_cpu_layers(model) == 0


def test_a_dropout_is_left_unchanged() -> None:
    """It has no effect outside training, so a trial in evaluation mode would not show it."""
    model = made("llama").eval()
    for layer in model.model.layers:
        layer.mlp.dropout = nn.Dropout(0.5)
    assert use_cpu_layers(model) == 5


@pytest.mark.parametrize("change", [use_cpu_layers, hold_cpu_gradients])
def test_a_model_that_is_not_on_a_cpu_is_refused(change: Any) -> None:
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**SIZES))
    with pytest.raises(ValueError, match="for models on a CPU"):
        change(model)


def test_half_precision_is_left_unchanged() -> None:
    assert use_cpu_layers(made("llama").to(torch.bfloat16)) == 0
