"""The mismatch is measured by what it does to the margins of pairs, and by the error that all tokens share."""

from typing import Literal

import numpy as np
import pytest

from rlaif.recipe import TrainingSection
from rlaif.training.dpo.mismatch import Mismatch, mismatch
from rlaif.training.groups import Group, Pair, with_reference


def group(lengths: tuple[int, ...], engine: tuple[float, ...]) -> Group:
    """A prompt with candidates of these lengths, all pairs of neighbours, and the engine's log-probabilities."""
    pairs = tuple(Pair(str(i), i, i + 1, 0.0, 0.0) for i in range(len(lengths) - 1))
    candidates = tuple(tuple(range(10 * i, 10 * i + length)) for i, length in enumerate(lengths))
    return with_reference(Group((1, 2), candidates, pairs), engine)


def test_by_hand() -> None:
    """Errors of +0.4 on 2 tokens and -0.2 on 4: 0.06 in the margin at beta 0.1, and 0.2 over 6 tokens in common."""
    found = mismatch([group((2, 4), (-5.0, -9.0))], [[-4.6, -9.2]], TrainingSection(beta=0.1))
    assert found.mean == pytest.approx((0.2 + 0.05) / 2)
    assert found.bias == pytest.approx(0.2 / 6)
    assert found.margin_p99 == pytest.approx(0.1 * 0.6)


@pytest.mark.parametrize("loss", ["sigmoid_norm", "ipo"])
def test_a_margin_averaged_over_tokens_bears_errors_averaged_over_tokens(loss: Literal["sigmoid_norm", "ipo"]) -> None:
    found = mismatch([group((2, 4), (-5.0, -9.0))], [[-4.6, -9.2]], TrainingSection(beta=2.0, loss=loss))
    assert found.margin_p99 == pytest.approx(2.0 * (0.2 + 0.05))


def found_with(noise: float, shared: float, length: int = 200, beta: float = 0.1) -> Mismatch:
    """What sampled answers of `length` tokens show, with errors of so many nats a token."""
    draw = np.random.default_rng(0)
    groups, trainers = [], []
    for _ in range(16):
        lengths = tuple(int(n) for n in draw.integers(length // 2, length, 4))
        engine = tuple(float(-2.0 * n) for n in lengths)
        groups.append(group(lengths, engine))
        errors = [float(draw.normal(0, noise * n**0.5) + shared * n) for n in lengths]
        trainers.append([logp + error for logp, error in zip(engine, errors, strict=True)])
    return mismatch(groups, trainers, TrainingSection(beta=beta))


@pytest.mark.parametrize(
    ("dtype", "noise", "shared", "small"),
    [
        ("float32", 1e-5, 0.0, True),
        ("bfloat16", 0.01, 0.0, True),
        # The limit of 0.25 nats a token let all of these pass as a reference.
        ("bfloat16", 0.2, 0.0, False),
        ("bfloat16", 0.01, 0.05, False),
        ("bfloat16", 0.01, -0.2, False),
        ("float32", 1e-5, 1e-3, False),
    ],
)
def test_what_may_be_a_reference(dtype: str, noise: float, shared: float, small: bool) -> None:
    assert found_with(noise, shared).is_small(TrainingSection(), dtype) is small


def test_a_strong_pull_or_long_answers_bear_less_error() -> None:
    settings = TrainingSection()
    assert found_with(0.02, 0.0).is_small(settings, "bfloat16")
    assert not found_with(0.02, 0.0, beta=1.0).is_small(settings, "bfloat16")
    assert not found_with(0.02, 0.0, length=4000).is_small(settings, "bfloat16")
    assert found_with(0.02, 0.0, length=4000).is_small(TrainingSection(max_mismatch=1.0), "bfloat16")
