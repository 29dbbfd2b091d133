"""On CUDA, FlexAttention over packed groups equals dense attention, up to rows of 8k tokens."""

import random
from typing import Any

import pytest
import torch

from rlaif.training.groups import Group, Pair
from rlaif.training.kernels.attention import Attention, attention_of, set_attention
from rlaif.training.models import load_model
from rlaif.training.shared_prompt import candidate_logps, pack_row
from tests.gpu import needs_cuda

pytestmark = needs_cuda


def made(prompt: int, answer: int, groups: int) -> list[Group]:
    draw = random.Random(0)

    def tokens(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(100, 40_000) for _ in range(count))

    pair = Pair("p", 0, 1, -1.0, -1.0)
    return [Group(tokens(prompt), tuple(tokens(answer + i) for i in range(4)), (pair,)) for _ in range(groups)]


def passes(folder: str, flex: bool, groups: list[Group]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The candidates' log-probabilities and the gradient of a DPO loss on the first two of each group."""
    model = load_model(folder, "float32", gpu=flex).cuda()
    if not flex:
        set_attention(model, Attention("groups"))
    assert attention_of(model) == ("flex" if flex else "groups")
    row = pack_row(groups).to(torch.device("cuda"))
    logps = candidate_logps(model, row, attention_of(model))
    firsts = torch.arange(0, len(logps), 4, device="cuda")
    loss = -torch.nn.functional.logsigmoid(0.1 * (logps[firsts] - logps[firsts + 1])).mean()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return logps.detach(), gradients


@pytest.mark.parametrize(("prompt", "answer", "groups"), [(300, 30, 3), (37, 5, 5), (1800, 50, 4)])
def test_flex_trains_as_dense_attention_does(model_folder: str, prompt: int, answer: int, groups: int) -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    flex, flex_gradients = passes(model_folder, True, made(prompt, answer, groups))
    dense, dense_gradients = passes(model_folder, False, made(prompt, answer, groups))
    torch.testing.assert_close(flex, dense, rtol=1e-4, atol=1e-2)
    assert flex_gradients.keys() == dense_gradients.keys()
    for name, gradient in dense_gradients.items():
        apart = (flex_gradients[name] - gradient).norm() / gradient.norm().clamp_min(1e-12)
        assert apart < 1e-3, name


def test_a_long_row_is_scored_group_by_group(model_folder: str) -> None:
    """In a row of about 8k tokens each group has the log-probabilities that it has alone."""
    groups = made(600, 40, 10)
    model: Any = load_model(model_folder, "float32", gpu=True).cuda().eval()
    device = torch.device("cuda")
    with torch.no_grad():
        together = candidate_logps(model, pack_row(groups).to(device), "flex")
        apart = torch.cat([candidate_logps(model, pack_row([group]).to(device), "flex") for group in groups])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-2)
