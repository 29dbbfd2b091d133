"""Makes a model return log-probabilities of answer tokens, computing logits and its last MLP at their positions alone.

Other positions read only the keys and values of a layer, and after the last layer nothing reads another position.

Suffixes name axes: A answer tokens, T tokens of the row, D the model's width.
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
    """The output of a model with an answer head.

    Attributes:
        logps: [A] float32, log-probability of each target, in nats.
    """

    logps: torch.Tensor | None = None


def add_answer_head(model: Any) -> None:
    """Make a bare model return `AnswerLogps` for `model(..., logits_to_keep=positions_A, answer_targets=targets_A)`.

    The head is inside the model's own forward, so that nothing around it (autocast's float32 outputs, data parallelism)
    handles a matrix as wide as the vocabulary. Without `answer_targets` the model is unchanged.
    """
    plain = model.forward
    last = _last_mlp(model)

    @functools.wraps(type(model).forward)
    def forward(self: Any, *args: Any, answer_targets: torch.Tensor | None = None, **named: Any) -> Any:
        if last is not None:
            # Kept until the next forward pass: gradient checkpointing repeats this one.
            last.positions = None if answer_targets is None else torch.unique(named["logits_to_keep"])
        output = plain(*args, **named)
        return output if answer_targets is None else AnswerLogps(logps=token_logps(output.logits[0], answer_targets))

    model.forward = types.MethodType(forward, model)


class NarrowMlp:
    """The forward pass of an MLP at some positions of [1, T, D] alone, with zeros at the others.

    Attributes:
        whole: the forward pass at all positions.
        positions: the distinct positions; None is all.
    """

    def __init__(self, forward: Any) -> None:
        self.whole = forward
        self.positions: torch.Tensor | None = None

    def __call__(self, hidden_1TD: torch.Tensor) -> torch.Tensor:
        if self.positions is None:
            everywhere: torch.Tensor = self.whole(hidden_1TD)
            return everywhere
        found: torch.Tensor = self.whole(hidden_1TD[:, self.positions])
        return found.new_zeros(*hidden_1TD.shape[:-1], found.shape[-1]).index_copy(1, self.positions, found)


def _last_mlp(model: Any) -> NarrowMlp | None:
    """Replace the last layer's MLP by a narrow one; None where it has no MLP that treats each position by itself."""
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
        # It takes more than a tensor, or returns something else.
        return None
    finally:
        narrow.positions = None
    mlp.forward = narrow
    return narrow


def _agree(plain: Any, narrow: NarrowMlp, model: Any) -> bool:
    weight = next(model.parameters())
    width = model.config.get_text_config().hidden_size
    hidden_1TD = torch.linspace(-1.0, 1.0, 3 * width, device=weight.device, dtype=weight.dtype).view(1, 3, width)
    narrow.positions = torch.tensor([0, 1], device=weight.device)
    with torch.no_grad():
        whole, part = plain(hidden_1TD), narrow(hidden_1TD)
    return torch.allclose(part[:, :2], whole[:, :2], rtol=1e-2, atol=1e-3) and not part[:, 2].any()
