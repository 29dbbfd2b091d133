"""Layers that keep less for the backward pass give what they gave, and so do their gradients."""

import copy
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from rlaif.training.slim import slim

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
}
TOKENS = torch.arange(20).view(1, 20)


@pytest.fixture
def plain() -> nn.Module:
    torch.manual_seed(0)
    model: nn.Module = LlamaForCausalLM(LlamaConfig(**SIZES))
    with torch.no_grad():
        # A norm's weights begin at one, where a forgotten factor would not show.
        for name, weight in model.named_parameters():
            if "norm" in name:
                weight.uniform_(0.5, 1.5)
    return model


@pytest.mark.parametrize("lora", [False, True])
def test_outputs_and_gradients_are_the_same(plain: nn.Module, lora: bool) -> None:
    slimmed: Any = copy.deepcopy(plain)
    assert slim(slimmed) == 2 * 3 + 1
    gradients = []
    for model in (plain, slimmed):
        if lora:
            torch.manual_seed(1)
            config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
            model = get_peft_model(model, config)
        loss = model(input_ids=TOKENS, labels=TOKENS).loss
        loss.backward()
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.requires_grad])
    assert len(gradients[0]) == len(gradients[1]) > 0
    for theirs, ours in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_a_norm_of_another_formula_is_left_alone() -> None:
    """Gemma's norm multiplies by one plus its weight, and its MLP uses tanh's GELU."""
    model = Gemma2ForCausalLM(Gemma2Config(**SIZES, head_dim=8))
    before = model(input_ids=TOKENS).logits
    assert slim(model) == 0
    torch.testing.assert_close(model(input_ids=TOKENS).logits, before)


def test_half_precision_goes_the_plain_way(plain: nn.Module) -> None:
    half: Any = copy.deepcopy(plain).to(torch.bfloat16)
    before = half(input_ids=TOKENS).logits
    slim(half)
    torch.testing.assert_close(half(input_ids=TOKENS).logits, before)
