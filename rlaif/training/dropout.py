"""Turns off a model's own dropout: only an adapter's acts, where the recipe asks for one.

An answer's log-probability is then the same in training and in scoring, and packed and alone.
"""

from typing import Any

from torch import nn


def silence_dropout(model: Any) -> None:
    """Set every dropout of a model to zero: its modules', and the shares that its attention passes to a function."""
    for module in model.modules():
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        for name, value in vars(module).items():
            if name.endswith(("dropout", "dropout_p", "dropout_prob")) and isinstance(value, float):
                setattr(module, name, 0.0)
