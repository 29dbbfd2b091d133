"""The last MLP and the head run at the answers' positions only; some models are left unchanged."""

from typing import Any

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from rlaif.training.kernels.answer_head import add_answer_head

KEPT, TARGETS = torch.tensor([3, 5, 5]), torch.tensor([7, 8, 9])
TOKENS = torch.arange(8).view(1, 8)


def llama() -> Any:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=64,
        )
    ).eval()  # fmt: skip


def rows_of_last_mlp(model: Any) -> list[int]:
    """Count the positions that the last layer's MLP computes from here on."""
    seen: list[int] = []
    model.model.layers[-1].mlp.gate_proj.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    return seen


def test_the_last_mlp_runs_where_logits_are_taken_and_nowhere_else() -> None:
    model = llama()
    expected = model(input_ids=TOKENS).logits[0].log_softmax(-1)[KEPT, TARGETS]
    add_answer_head(model)
    seen = rows_of_last_mlp(model)
    logps = model(input_ids=TOKENS, logits_to_keep=KEPT, answer_targets=TARGETS).logps
    torch.testing.assert_close(logps, expected)
    model(input_ids=TOKENS)
    assert seen == [2, 8]


def test_gradient_checkpointing_computes_the_same_positions_again() -> None:
    gradients = []
    for checkpointing in (False, True):
        model = llama().train()
        add_answer_head(model)
        seen = rows_of_last_mlp(model)
        if checkpointing:
            model.gradient_checkpointing_enable()
        model(input_ids=TOKENS, logits_to_keep=KEPT, answer_targets=TARGETS, use_cache=False).logps.sum().backward()
        assert seen == [2, 2] if checkpointing else [2]
        gradients.append([parameter.grad for parameter in model.parameters()])
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_an_mlp_that_mixes_positions_is_left_unchanged() -> None:
    class Mixing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.mean(1, keepdim=True)

    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
            return x, None

    for mlp in (Mixing(), Pair()):
        model = llama()
        model.model.layers[-1].mlp = mlp
        add_answer_head(model)
        assert "forward" not in vars(mlp)
