"""Intervals: deterministic, defined for few values, and as wide as they should be."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.stats import bootstrap
from rlaif.stats.bootstrap import Estimate, mean_interval, paired_difference, win_rate


def test_no_values_have_no_mean_and_one_value_is_its_own_interval() -> None:
    assert mean_interval([]) == win_rate([], []) == Estimate(None, None, None, 0)
    assert mean_interval([0.25]) == Estimate(0.25, 0.25, 0.25, 1)


def test_the_seed_decides_the_interval() -> None:
    values = list(np.random.default_rng(1).normal(size=40))
    assert mean_interval(values, seed=3) == mean_interval(values, seed=3)
    assert mean_interval(values, seed=3) != mean_interval(values, seed=4)


def test_many_values_in_parts_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    # Whole numbers: their sums are exact in whatever order a CPU's matrix product takes them.
    values = [float(value) for value in np.random.default_rng(1).integers(-50, 50, size=50)]
    whole = mean_interval(values)
    monkeypatch.setattr(bootstrap, "_CELLS_AT_ONCE", 120)
    assert mean_interval(values) == whole


def test_the_interval_of_a_large_sample_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(loc=1.0, scale=2.0, size=400)
    interval = mean_interval(list(values), confidence=0.95)
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.low == pytest.approx(interval.value - half, abs=0.03)
    assert interval.high == pytest.approx(interval.value + half, abs=0.03)
    narrow = mean_interval(list(values), confidence=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high  # type: ignore[operator]


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    for seed in range(150):
        interval = mean_interval(list(draw.normal(size=30)), confidence=0.9, seed=seed)
        assert interval.low is not None
        assert interval.high is not None
        covered += interval.low <= 0.0 <= interval.high
    assert 0.80 <= covered / 150 <= 0.97


def test_pairing_removes_the_difficulty_of_questions() -> None:
    old = list(np.linspace(0.0, 1.0, 50))
    new = [value + 0.1 for value in old]
    difference = paired_difference(new, old)
    assert difference.value == pytest.approx(0.1)
    assert difference.low == pytest.approx(0.1)
    assert difference.high == pytest.approx(0.1)
    assert paired_difference(old, new).value == pytest.approx(-0.1)


def test_ties_count_half() -> None:
    assert win_rate([1, 1, 0, 0.5], [0, 1, 1, 0.5]).value == 0.5
    assert win_rate([1, 1], [0, 0]) == Estimate(1.0, 1.0, 1.0, 2)


def test_values_that_are_not_finite_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([0.1, math.nan])
    with pytest.raises(ValueError, match="level"):
        mean_interval([0.1], confidence=95)
    with pytest.raises(ValueError, match="longer"):
        win_rate([1.0], [1.0, 2.0])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.5, 0.99))
def test_ends_lie_within_the_values(values: list[float], confidence: float) -> None:
    interval = mean_interval(values, confidence)
    assert interval.low is not None
    assert interval.high is not None
    slack = 1e-9 * (1.0 + max(map(abs, values)))
    assert min(values) - slack <= interval.low <= interval.high <= max(values) + slack
    assert interval.n == len(values)
