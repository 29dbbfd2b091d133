"""Log-probability of one token out of a vocabulary, without a second matrix as large as the logits.

The plain way, `log_softmax` and `gather`, keeps a float32 copy of [A, V] for the backward pass and makes two more
there. Here float32 exists for a few rows at a time, and the gradient is written over the logits themselves.
"""

from typing import Any

import torch

# Rows are taken so many at a time that a float32 copy of them stays below this many numbers, on a CPU and on a GPU.
_CHUNK_NUMBERS_CPU, _CHUNK_NUMBERS_GPU = 1_000_000, 4_000_000


def token_logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return log softmax(logits)[target] of each row.

    Args:
        logits: [A, V] of any float type; overwritten by the backward pass, so of no use to anybody afterwards.
        targets: [A] int64.

    Returns:
        [A] float32, in nats.
    """
    result: torch.Tensor = _TokenLogps.apply(logits, targets)  # type: ignore[no-untyped-call]  # torch
    return result


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        normalizers = torch.cat([chunk.float().logsumexp(1) for chunk in torch.split(logits, _rows(logits))])
        ctx.save_for_backward(logits, targets, normalizers)
        return logits.gather(1, targets[:, None])[:, 0].float() - normalizers

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient,) = upstream
        logits, targets, normalizers = ctx.saved_tensors
        # d logp / d logits = onehot(target) - softmax(logits)
        with torch.no_grad():
            rows = _rows(logits)
            for chunk, norm, up in zip(
                torch.split(logits, rows), torch.split(normalizers, rows), torch.split(gradient, rows), strict=True
            ):
                if chunk.dtype == torch.float32:
                    chunk.sub_(norm[:, None]).exp_().mul_(-up[:, None])
                else:
                    chunk.copy_((chunk.float() - norm[:, None]).exp_().mul_(-up[:, None]))
            logits.scatter_add_(1, targets[:, None], gradient[:, None].to(logits.dtype))
        return logits, None


def _rows(logits: torch.Tensor) -> int:
    return max(1, (_CHUNK_NUMBERS_GPU if logits.is_cuda else _CHUNK_NUMBERS_CPU) // logits.shape[1])
