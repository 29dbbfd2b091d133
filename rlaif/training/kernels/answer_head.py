"""A model that answers with log-probabilities of answer tokens, and computes at their positions alone what it can.

The logits, and the MLP of the last layer: of all that a layer computes at a position, only its keys and values are
looked at from elsewhere, and after the last layer nothing looks anywhere.
"""

import functools
import types
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

from rlaif.training.kernels.token_logps import token_logps


@dataclass
class AnswerLogps(ModelOutput):  # type: ignore[misc]
    """What `add_answer_head` makes a model return.

    Attributes:
        logps: [A] float32, log-probability of each target, in nats.
    """

    logps: torch.Tensor | None = None


def add_answer_head(model: Any) -> None:
    """Let a bare model answer `model(..., logits_to_keep=[A], answer_targets=[A])` with `AnswerLogps` for its logits.

    Inside the model's own forward, so that nothing around it (autocast's float32 outputs, data parallelism) ever
    handles a matrix as wide as the vocabulary. Without `answer_targets` the model is as it was.
    """
    plain = model.forward
    last = _last_mlp(model)

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, answer_targets: torch.Tensor | None = None, **named: Any) -> Any:
        if last is not None:
            # Left as it is until the next forward pass: gradient checkpointing computes this one again.
            last.positions = None if answer_targets is None else torch.unique(named["logits_to_keep"])
        output = plain(*args, **named)
        return output if answer_targets is None else AnswerLogps(logps=token_logps(output.logits[0], answer_targets))

    model.forward = types.MethodType(forward, model)


class NarrowMlp:
    """The forward pass of an MLP at some positions of [1, T, H] alone, with zeros at the others.

    Attributes:
        whole: the forward pass that is narrowed.
        positions: where; None is everywhere.
    """

    def __init__(self, forward: Any) -> None:
        self.whole = forward
        self.positions: torch.Tensor | None = None

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self.positions is None:
            everywhere: torch.Tensor = self.whole(x)
            return everywhere
        found: torch.Tensor = self.whole(x[:, self.positions])
        return found.new_zeros(*x.shape[:-1], found.shape[-1]).index_copy(1, self.positions, found)


def _last_mlp(model: Any) -> NarrowMlp | None:
    """Make the last layer's MLP one that can be narrowed; None where it has none that treats each position alone."""
    layers = getattr(getattr(model, model.base_model_prefix, None), "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if isinstance(layers, torch.nn.ModuleList) else None
    if mlp is None:
        return None
    plain = mlp.forward
    narrow = NarrowMlp(plain)
    try:
        if not _agree(plain, narrow, model):
            return None
    except (AttributeError, TypeError, ValueError, RuntimeError):
        # Called with more than a tensor, or no answer in one.
        return None
    finally:
        narrow.positions = None
    mlp.forward = narrow
    return narrow


def _agree(plain: Any, narrow: NarrowMlp, model: Any) -> bool:
    weight = next(model.parameters())
    width = model.config.get_text_config().hidden_size
    x = torch.linspace(-1.0, 1.0, 3 * width, device=weight.device, dtype=weight.dtype).view(1, 3, width)
    narrow.positions = torch.tensor([0, 1], device=weight.device)
    with torch.no_grad():
        whole, part = plain(x), narrow(x)
    return torch.allclose(part[:, :2], whole[:, :2], rtol=1e-2, atol=1e-3) and not part[:, 2].any()
