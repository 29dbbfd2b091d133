"""From verdicts to decisions: only `ok` becomes a preference, and swapping candidates swaps the decision."""

import math
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.judges.decisions import all_comparisons, decide_by_orders, decide_by_scores
from rlaif.judges.judge import Decision, Order, Status, Verdict
from rlaif.prompts.reading import preference_of

LOGPROBS = st.floats(min_value=-1e3, max_value=0.0)
STATUSES: tuple[Status, ...] = get_args(Status)
PREFERENCES = st.tuples(LOGPROBS, LOGPROBS).map(lambda pair: preference_of(*pair))
BOTH: tuple[Order, ...] = ("ab", "ba")


def compared(order: Order, status: Status, preference: float | None = None) -> Verdict:
    return Verdict("q", 0, 1, status, preference, None, "", "judge", "sha", order=order)


def rated(index: int, score: float | None, status: Status = "ok") -> Verdict:
    return Verdict("q", index, None, status, None, score, "", "judge", "sha")


def decided(*verdicts: Verdict) -> Decision:
    (decision,) = decide_by_orders(verdicts, BOTH)
    return decision


@st.composite
def order_verdicts(draw: st.DrawFn) -> list[Verdict]:
    verdicts = []
    asked: list[tuple[Order, ...]] = [("ab",), ("ba",), BOTH]
    for order in draw(st.sampled_from(asked)):
        status = draw(st.sampled_from(STATUSES))
        verdicts.append(compared(order, status, draw(st.floats(0, 1) | PREFERENCES) if status == "ok" else None))
    return verdicts


@given(LOGPROBS | st.just(-math.inf), LOGPROBS)
def test_preferences_of_the_two_labels_add_up_to_exactly_one(a: float, b: float) -> None:
    assert preference_of(a, b) == 1.0 - preference_of(b, a)
    assert preference_of(b, a) == 1.0 - preference_of(a, b)


def test_preference_is_the_share_of_the_first_labels_probability() -> None:
    assert preference_of(math.log(0.3), math.log(0.1)) == pytest.approx(0.75)
    assert preference_of(-2.0, -2.0) == 0.5
    assert preference_of(-math.inf, -2.0) == 0.0


@pytest.mark.parametrize(
    "pair", [(math.nan, -1.0), (-1.0, math.nan), (-math.inf, -math.inf), (math.inf, 0.0), (0.0, math.inf)]
)
def test_malformed_log_probabilities_give_no_preference(pair: tuple[float, float]) -> None:
    assert math.isnan(preference_of(*pair))


@given(order_verdicts())
def test_only_ok_has_a_preference_and_only_agreement_is_ok(verdicts: list[Verdict]) -> None:
    decision = decided(*verdicts)
    if decision.status == "ok":
        assert len(verdicts) == 2
        assert all(verdict.status == "ok" for verdict in verdicts)
        sides = {verdict.preference > 0.5 for verdict in verdicts if verdict.preference is not None}
        assert sides == {decision.preference is not None and decision.preference > 0.5}
        assert all(verdict.preference != 0.5 for verdict in verdicts)
        assert decision.margin is not None
        assert 0 < decision.margin <= 1
    else:
        assert (decision.preference, decision.margin) == (None, None)


@given(PREFERENCES, PREFERENCES)
def test_swapping_the_candidates_reverses_the_decision_exactly(ab: float, ba: float) -> None:
    decision = decided(compared("ab", "ok", ab), compared("ba", "ok", ba))
    swapped = decided(compared("ab", "ok", 1.0 - ba), compared("ba", "ok", 1.0 - ab))
    assert swapped.status == decision.status
    assert swapped.margin == decision.margin
    if decision.preference is not None:
        assert swapped.preference == 1.0 - decision.preference


def test_orders_that_agree_give_their_mean_and_its_margin() -> None:
    decision = decided(compared("ab", "ok", 0.75), compared("ba", "ok", 1.0))
    assert (decision.status, decision.preference, decision.margin) == ("ok", 0.875, 0.75)


@pytest.mark.parametrize(("ab", "ba"), [(0.9, 0.1), (0.1, 0.9), (0.51, 0.5), (0.5, 0.5), (0.49, 0.5), (0.9, math.nan)])
def test_orders_that_disagree_tie(ab: float, ba: float) -> None:
    assert decided(compared("ab", "ok", ab), compared("ba", "ok", ba)).status == "tie"


@pytest.mark.parametrize(
    ("one", "other", "status"),
    [
        ("error", "ok", "error"), ("ok", "error", "error"), ("unparsed", "error", "error"), ("tie", "error", "error"),
        ("ok", "unparsed", "unparsed"), ("tie", "unparsed", "unparsed"), ("tie", "ok", "tie"), ("tie", "tie", "tie"),
    ],
)  # fmt: skip
def test_the_worse_status_of_the_two_orders_counts(one: Status, other: Status, status: Status) -> None:
    ab, ba = (
        compared(order, given, 0.9 if given == "ok" else None) for order, given in zip(BOTH, (one, other), strict=True)
    )
    assert decided(ab, ba).status == status


def test_a_missing_order_is_an_error_and_a_missing_comparison_has_no_decision() -> None:
    assert decided(compared("ab", "ok", 0.9)).status == "error"
    assert decide_by_orders([], BOTH) == []


def test_one_order_suffices_if_one_was_asked() -> None:
    (decision,) = decide_by_orders([compared("ab", "ok", 0.25)], ("ab",))
    assert (decision.status, decision.preference, decision.margin) == ("ok", 0.25, 0.5)


def test_the_higher_score_wins_by_the_difference_and_equal_scores_tie() -> None:
    decisions = decide_by_scores([rated(0, 0.25), rated(1, 1.0), rated(2, 1.0)])
    assert [(d.first, d.second, d.status, d.preference, d.margin) for d in decisions] == [
        (0, 1, "ok", 0.0, 0.75), (0, 2, "ok", 0.0, 0.75), (1, 2, "tie", None, None),
    ]  # fmt: skip
    assert (decisions[0].score_first, decisions[0].score_second) == (0.25, 1.0)


@pytest.mark.parametrize("status", ["error", "unparsed", "tie"])
def test_a_rating_that_is_not_ok_decides_nothing(status: Status) -> None:
    (decision,) = decide_by_scores([rated(0, None, status), rated(1, 1.0)])
    assert (decision.status, decision.preference, decision.margin) == (status, None, None)


def test_a_candidate_without_a_rating_is_in_no_decision() -> None:
    assert [(d.first, d.second) for d in decide_by_scores([rated(0, 0.0), rated(3, 1.0)])] == [(0, 3)]


def test_all_comparisons_are_every_two_sorted() -> None:
    assert all_comparisons(3) == [(0, 1), (0, 2), (1, 2)]
    assert all_comparisons(1) == []
