"""A value head: one linear layer on a language model's last hidden state, trained beside the policy.

Invariant: a new head gives 0 everywhere, and the saved policy is without it.

Suffixes name axes: A positions that predict answer tokens, D the model's width.
"""

from typing import Any

import torch
from torch import nn

from rlaif.training.kernels.attention import bare_model

NAME = "value_head"


class ValueHead(nn.Module):
    """A linear layer of float32 on what the model's output layer was last given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))
        self.bias = nn.Parameter(torch.zeros(1))
        self._hidden_1AD: torch.Tensor | None = None

    def take(self, module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        """Keep the input of the output layer; a hook of it."""
        self._hidden_1AD = inputs[0]

    def values(self) -> torch.Tensor:
        """Return the values of the last forward pass: [A]."""
        hidden_1AD, self._hidden_1AD = self._hidden_1AD, None
        assert hidden_1AD is not None
        # A product of vectors: autocast would round a matrix product's inputs.
        values_A: torch.Tensor = (hidden_1AD[0].float() * self.weight).sum(-1) + self.bias
        return values_A


def add_value_head(model: Any) -> ValueHead:
    """Give a model, with or without an adapter around it, a new value head; its answer head then returns values."""
    bare = bare_model(model)
    output = bare.get_output_embeddings()
    head = ValueHead(bare.config.get_text_config().hidden_size).to(next(bare.parameters()).device)
    output.register_forward_pre_hook(head.take)
    setattr(bare, NAME, head)
    return head


def without_value_head(weights: dict[str, Any]) -> dict[str, Any]:
    """Return a model's weights by name, without those of its value head."""
    return {name: weight for name, weight in weights.items() if NAME not in name.split(".")}
