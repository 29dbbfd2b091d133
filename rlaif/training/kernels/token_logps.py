"""Log-probabilities of tokens without a second matrix as large as the logits.

`log_softmax` and `gather` keep a float32 copy of the logits for the backward pass and make two more there. Here float32
exists for a few rows at a time, and the gradient overwrites the logits.

Suffixes name axes: A answer tokens, V vocabulary.
"""

from typing import Any

import torch

# The largest float32 copy of rows, in numbers, on a CPU and on a GPU.
_CHUNK_NUMBERS_CPU, _CHUNK_NUMBERS_GPU = 1_000_000, 4_000_000


def token_logps(logits_AV: torch.Tensor, targets_A: torch.Tensor) -> torch.Tensor:
    """Return log softmax(logits)[target] of each row.

    Args:
        logits_AV: of any float type; the backward pass overwrites them, so nothing else may use them.
        targets_A: int64.

    Returns:
        [A] float32, in nats.
    """
    logps_A: torch.Tensor = _TokenLogps.apply(logits_AV, targets_A)  # type: ignore[no-untyped-call]  # torch
    return logps_A


class _TokenLogps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits_AV: torch.Tensor, targets_A: torch.Tensor) -> torch.Tensor:
        normalizers_A = torch.cat([chunk.float().logsumexp(1) for chunk in torch.split(logits_AV, _rows(logits_AV))])
        ctx.save_for_backward(logits_AV, targets_A, normalizers_A)
        return logits_AV.gather(1, targets_A[:, None])[:, 0].float() - normalizers_A

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> tuple[torch.Tensor, None]:
        (gradient_A,) = upstream
        logits_AV, targets_A, normalizers_A = ctx.saved_tensors
        # d logp / d logits = onehot(target) - softmax(logits)
        with torch.no_grad():
            rows = _rows(logits_AV)
            chunks = (torch.split(tensor, rows) for tensor in (logits_AV, normalizers_A, gradient_A))
            for chunk, norm, up in zip(*chunks, strict=True):
                if chunk.dtype == torch.float32:
                    chunk.sub_(norm[:, None]).exp_().mul_(-up[:, None])
                else:
                    chunk.copy_((chunk.float() - norm[:, None]).exp_().mul_(-up[:, None]))
            logits_AV.scatter_add_(1, targets_A[:, None], gradient_A[:, None].to(logits_AV.dtype))
        return logits_AV, None


def _rows(logits_AV: torch.Tensor) -> int:
    return max(1, (_CHUNK_NUMBERS_GPU if logits_AV.is_cuda else _CHUNK_NUMBERS_CPU) // logits_AV.shape[1])
