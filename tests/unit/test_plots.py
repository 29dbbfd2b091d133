"""Ticks and curves of plots."""

from hypothesis import given
from hypothesis import strategies as st

from rlaif.reporting.plots import nice_ticks, thinned


@given(st.floats(-1e9, 1e9), st.floats(1e-9, 1e9), st.integers(1, 10))
def test_ticks_lie_in_their_range_and_are_few(low: float, width: float, wanted: int) -> None:
    high = low + width
    ticks = nice_ticks(low, high, wanted)
    assert len(ticks) <= wanted + 1
    assert all(low - 1e-6 * abs(low) - width * 1e-6 <= tick <= high + 1e-6 * abs(high) + width * 1e-6 for tick in ticks)


@given(st.lists(st.floats(-1e3, 1e3), max_size=300), st.integers(1, 50))
def test_a_thinned_curve_keeps_its_mean(values: list[float], limit: int) -> None:
    kept, every = thinned(values, limit)
    assert len(kept) <= limit
    assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for value in kept)
    assert every == 1 or len(values) > limit
