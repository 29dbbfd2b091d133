"""Makes a model return log-probabilities of answer tokens, computing logits and its last MLP at their positions alone.

Other positions read only the keys and values of a layer, and after the last layer nothing reads another position.

There is no second matrix as large as the logits: `log_softmax` and `gather` would keep a float32 copy of the logits for
the backward pass and make two more there. Here float32 exists for a few rows at a time, and the gradient overwrites the
logits.

Suffixes name axes: A answer tokens, T tokens of the row, D the model's width, V vocabulary.
"""

import functools
import types
from dataclasses import dataclass
from typing import Any

import torch
from transformers.utils import ModelOutput

# The largest float32 copy of rows, in numbers, on a CPU and on a GPU.
_CHUNK_NUMBERS_CPU, _CHUNK_NUMBERS_GPU = 1_000_000, 4_000_000


@dataclass
class AnswerLogps(ModelOutput):  # type: ignore[misc]
    """The output of a model with an answer head.

    Attributes:
        logps: [A] float32, log-probability of each target, in nats.
        values: [A] float32, of the model's value head at the positions that predict the targets; None without one.
        raw: [A] float32, the log-probabilities before a temperature, without a graph; None at temperature 1 or with
            gradients.
    """

    logps: torch.Tensor | None = None
    values: torch.Tensor | None = None
    raw: torch.Tensor | None = None


def add_answer_head(model: Any, narrow: bool | None = None) -> bool:
    """Make a bare model return `AnswerLogps` for `model(..., logits_to_keep=positions_A, answer_targets=targets_A)`.

    The head is inside the model's own forward, so that nothing around it (autocast's float32 outputs, data parallelism)
    handles a matrix as wide as the vocabulary. Without `answer_targets` the model is unchanged. With `whole_mlp` its
    last MLP computes all positions: for several forward passes before one backward pass. With `temperature` the
    log-probabilities are those of sampling at it; without gradients the raw ones are returned too. A model with a
    `value_head` also returns values.

    Args:
        narrow: whether to narrow the last MLP; None tries whether that changes nothing, which takes weights.

    Returns:
        Whether the last MLP is narrow.
    """
    plain = model.forward
    last = None if narrow is False else _last_mlp(model, tried=narrow is True)

    @functools.wraps(type(model).forward)
    def forward(
        self: Any,
        *args: Any,
        answer_targets: torch.Tensor | None = None,
        whole_mlp: bool = False,
        temperature: float = 1.0,
        **named: Any,
    ) -> Any:
        if last is not None:
            # Kept until the next forward pass: gradient checkpointing repeats this one.
            whole = whole_mlp or answer_targets is None
            last.positions = None if whole else torch.unique(named["logits_to_keep"])
        output = plain(*args, **named)
        if answer_targets is None:
            return output
        head, logits_AV = getattr(self, "value_head", None), output.logits[0]
        both = temperature != 1 and not torch.is_grad_enabled()
        return AnswerLogps(
            logps=token_logps(logits_AV, answer_targets, temperature),
            values=head and head.values(),
            raw=token_logps(logits_AV, answer_targets) if both else None,
        )

    model.forward = types.MethodType(forward, model)
    return last is not None


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


def _last_mlp(model: Any, tried: bool) -> NarrowMlp | None:
    """Replace the last layer's MLP by a narrow one; None where it has no MLP that treats each position by itself."""
    layers = getattr(getattr(model, model.base_model_prefix, None), "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if isinstance(layers, torch.nn.ModuleList) else None
    if mlp is None:
        return None
    plain = mlp.forward
    narrow = NarrowMlp(plain)
    try:
        if not tried and not _agree(plain, narrow, model):
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
    hidden_1TD = torch.linspace(-2.0, 1.0, 3 * width, device=weight.device, dtype=weight.dtype).view(1, 3, width).exp()
    # An MLP that also reads other positions would show at the last one.
    narrow.positions = torch.tensor([0, 2], device=weight.device)
    with torch.no_grad():
        whole, part = plain(hidden_1TD), narrow(hidden_1TD)
    same = torch.allclose(part[:, [0, 2]], whole[:, [0, 2]], rtol=1e-2, atol=1e-3)
    return same and not part[:, 1].any()


def token_logps(logits_AV: torch.Tensor, targets_A: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Return log softmax(logits / temperature)[target] of each row: float32, in nats.

    The logits are of any float type; the backward pass overwrites them, so nothing else may use them.
    """
    logps_A: torch.Tensor = _TokenLogps.apply(logits_AV, targets_A, temperature)  # type: ignore[no-untyped-call]  # torch
    return logps_A


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_AV: torch.Tensor, targets_A: torch.Tensor, temperature: float) -> torch.Tensor:
        chunks = torch.split(logits_AV, _rows(logits_AV))
        normalizers_A = torch.cat([(chunk.float() / temperature).logsumexp(1) for chunk in chunks])
        ctx.save_for_backward(logits_AV, targets_A, normalizers_A)
        ctx.temperature = temperature
        return logits_AV.gather(1, targets_A[:, None])[:, 0].float() / temperature - normalizers_A

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        logits_AV, targets_A, normalizers_A = ctx.saved_tensors
        gradient_A = upstream[0] / ctx.temperature
        # d logp / d logits = (onehot(target) - softmax(logits / temperature)) / temperature
        with torch.no_grad():
            rows = _rows(logits_AV)
            chunks = (torch.split(tensor, rows) for tensor in (logits_AV, normalizers_A, gradient_A))
            for chunk, norm, up in zip(*chunks, strict=True):
                if chunk.dtype == torch.float32:
                    chunk.div_(ctx.temperature).sub_(norm[:, None]).exp_().mul_(-up[:, None])
                else:
                    chunk.copy_((chunk.float() / ctx.temperature - norm[:, None]).exp_().mul_(-up[:, None]))
            logits_AV.scatter_add_(1, targets_A[:, None], gradient_A[:, None].to(logits_AV.dtype))
        return logits_AV, None, None


def _rows(logits_AV: torch.Tensor) -> int:
    return max(1, (_CHUNK_NUMBERS_GPU if logits_AV.is_cuda else _CHUNK_NUMBERS_CPU) // logits_AV.shape[1])
