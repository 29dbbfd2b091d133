"""Gradients in one block equal autograd's, summed over packs, and stay at their addresses."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from rlaif.recipe import TrainingSection
from rlaif.training.dpo.trainer import GroupDPOTrainer
from rlaif.training.groups import Group, Pair, plan_training
from rlaif.training.kernels.cpu_layers import hold_cpu_gradients, use_cpu_layers
from tests.tiny import arguments, tiny_llama, tiny_tokenizer

SIZES = {
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 61,
}
PADDING = 3
# Two rows of different lengths, both with the padding token, whose embedding row gets no gradient.
ROWS = [torch.tensor([[5, PADDING, 9, 9, 40, 7]]), torch.tensor([[8, 60, PADDING, 11]])]

MODELS = {
    "tied, a row of padding": lambda: LlamaForCausalLM(
        LlamaConfig(**SIZES, pad_token_id=PADDING, tie_word_embeddings=True)
    ),
    "untied, biases": lambda: Qwen2ForCausalLM(Qwen2Config(**SIZES)),
    "an adapter": lambda: get_peft_model(
        LlamaForCausalLM(LlamaConfig(**SIZES)),
        LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    ),
    "layers frozen": lambda: frozen(LlamaForCausalLM(LlamaConfig(**SIZES))),
}


def frozen(model: Any) -> Any:
    for weight in model.model.layers[0].parameters():
        weight.requires_grad_(False)
    return model


def backward(model: Any) -> None:
    for row in ROWS:
        model(input_ids=row, labels=row).loss.backward()


def held(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("cpu_layers", [False, True], ids=["plain", "cpu_layers"])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_the_sum_of_autograds(name: str, cpu_layers: bool) -> None:
    torch.manual_seed(0)
    plain = MODELS[name]()
    ours = copy.deepcopy(plain)
    if cpu_layers:
        use_cpu_layers(ours)
    hold_cpu_gradients(ours)
    backward(plain)
    backward(ours)
    expected, found = held(plain), held(ours)
    assert found.keys() == expected.keys()
    for weight, gradient in expected.items():
        assert (found[weight] - gradient).norm() <= 1e-5 * max(gradient.norm().item(), 1e-3), weight


def test_the_row_of_padding_is_not_trained() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, pad_token_id=PADDING, tie_word_embeddings=False))
    hold_cpu_gradients(model)
    backward(model)
    gradient = model.model.embed_tokens.weight.grad
    assert not gradient[PADDING].any()
    assert gradient[9].any()


def test_gradients_stay_at_their_addresses_and_repeat() -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES))
    hold_cpu_gradients(model)
    backward(model)
    addresses = {name: gradient.data_ptr() for name, gradient in held(model).items()}
    first = {name: gradient.clone() for name, gradient in held(model).items()}
    model.zero_grad()
    assert not any(gradient.any() for gradient in held(model).values())
    backward(model)
    assert {name: gradient.data_ptr() for name, gradient in held(model).items()} == addresses
    for name, gradient in held(model).items():
        assert torch.equal(gradient, first[name]), name


def test_a_step_of_several_packs_equals_a_step_of_one(tmp_path: Path) -> None:
    """Two optimizer steps over the same groups: the second step's losses agree only if the first moved alike."""
    pairs = (Pair("a", 0, 1, -9.0, -5.0), Pair("b", 0, 2, -9.0, -4.0))
    groups = [Group((5, 6, 7 + n), ((8, 9), (10,), (11, 12, 13)), pairs) for n in range(4)]

    def losses(max_tokens: int) -> tuple[int, list[float]]:
        plan = plan_training(groups, epochs=2, groups_per_step=4, max_tokens=max_tokens, workers=1, seed=0)
        trainer = GroupDPOTrainer(
            tiny_llama(),
            args=arguments(tmp_path, gradient_accumulation_steps=plan.accumulation, remove_unused_columns=False),
            processing_class=tiny_tokenizer(), groups=groups, plan=plan,
            settings=TrainingSection(),
        )  # fmt: skip
        trainer.train()
        return plan.accumulation, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    one, several = losses(100), losses(7)
    assert (one[0], several[0]) == (1, 4)
    assert several[1] == pytest.approx(one[1], rel=1e-4)
    assert several[1][1] != pytest.approx(several[1][0], rel=1e-2)


def test_no_pack_makes_a_matrix_as_large_as_a_weight() -> None:
    """A backward pass never allocates as much at once as one gradient of the vocabulary's matrix."""
    torch.manual_seed(0)
    sizes = {**SIZES, "vocab_size": 20_000, "tie_word_embeddings": True}
    row = ROWS[0]

    def largest(hold: bool) -> int:
        model = LlamaForCausalLM(LlamaConfig(**sizes))
        if hold:
            hold_cpu_gradients(model)
        loss = model(input_ids=row, labels=row).loss
        with torch.profiler.profile(profile_memory=True) as profile:
            loss.backward()
        return max(event.cpu_memory_usage for event in profile.events())

    vocabulary = 20_000 * SIZES["hidden_size"] * 4
    assert largest(hold=True) < vocabulary <= largest(hold=False)
