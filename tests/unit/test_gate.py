"""The gate: what passes by chance, how the interval decides, and that drops do not accumulate."""

import numpy as np
import pytest

from rlaif.evaluation.heldout import Comparison
from rlaif.recipe import GateSection
from rlaif.rounds.gate import Opponent, best_of, decide, lower_end, too_few
from rlaif.stats.bootstrap import Estimate
from rlaif.store.records.round_records import GateResult

NONE = Estimate(None, None, None, 0)


def of(differences: list[float], least: float = -1.0) -> Comparison:
    return Comparison(None, NONE, 0, tuple(differences), least)


def gate(
    differences: list[float], against_best: list[float] | None = None, *, before: float = 0.5, **section: float | None
) -> GateResult:
    """The gate's result on changes of the scores, question by question."""
    best = None if against_best is None else Opponent("best", 0.6, of(against_best))
    after = before + float(np.mean(differences))
    current = Opponent("current", before, of(differences))
    return decide("score", after, current, best, section=GateSection(**section), seed=0)  # type: ignore[arg-type]


def chance(questions: int, rounds: int, **section: float | None) -> float:
    """The share of rounds in which a policy passes whose answers are as good as the current one's, but noisy."""
    draw = np.random.default_rng(questions)
    passed = 0
    for _ in range(rounds):
        # Half of the questions are answered alike; the others are right or wrong by a coin, under either policy.
        new, old = (draw.random((2, questions)) < 0.5).astype(float)
        new[: questions // 2] = old[: questions // 2]
        passed += gate((new - old).tolist(), **section).passed
    return passed / rounds


@pytest.mark.parametrize(("questions", "rounds"), [(80, 2000), (16, 500)])
def test_an_unchanged_policy_passes_by_chance_at_most_as_often_as_the_confidence_says(
    questions: int, rounds: int
) -> None:
    # Three standard deviations of the share itself.
    assert chance(questions, rounds) <= 0.1 + 3 * (0.1 * 0.9 / rounds) ** 0.5


def test_by_the_means_alone_an_unchanged_policy_passes_every_other_time() -> None:
    assert chance(80, 2000, confidence=None) > 0.45


def test_a_gain_beyond_chance_passes_and_the_result_says_by_how_much() -> None:
    found = gate([1.0] * 30 + [-1.0] * 5 + [0.0] * 45, before=0.335)
    assert found.passed
    assert found.low == pytest.approx(0.213, abs=0.02)
    assert found.change == f"score 0.335 → 0.647, at least {found.low:+.3f} at 90%"
    assert not gate([1.0] * 12 + [-1.0] * 9 + [0.0] * 59).passed


@pytest.mark.parametrize(("max_drop", "passed"), [(0.0, False), (0.02, True)])
def test_equal_answers_pass_only_where_a_drop_is_allowed(max_drop: float, passed: bool) -> None:
    assert gate([0.0] * 80, max_drop=max_drop).passed is passed


def test_a_drop_that_may_be_larger_than_allowed_does_not_pass() -> None:
    slightly_worse = [1.0] * 8 + [-1.0] * 9 + [0.0] * 63
    assert not gate(slightly_worse, max_drop=0.02).passed
    assert gate(slightly_worse, max_drop=0.1).passed
    assert gate(slightly_worse, max_drop=0.02, confidence=None).passed


def test_few_questions_never_pass_by_chance() -> None:
    """Three gains of three are one time in eight a coin's; four of four one in sixteen."""
    assert lower_end(of([1.0] * 3), 0.9, 0) == -1.0
    assert lower_end(of([0.5] * 3, least=-0.5), 0.9, 0) == -0.5
    assert gate([1.0] * 4).passed
    assert not gate([1.0, 1.0, 0.0, 0.0]).passed
    assert gate([-1.0], max_drop=1.0).passed
    assert lower_end(of([]), 0.9, 0) is None


def test_a_run_whose_policies_cannot_pass_says_so() -> None:
    assert too_few(GateSection(), 3, -1.0) == (
        "with 3 held-out questions a gain on each is still likely by chance: rounds.gate will promote no policy; "
        "expected at least 4"
    )
    assert too_few(GateSection(), 4, -1.0) is None
    assert "at least 7" in (too_few(GateSection(confidence=0.99, max_drop=0.5), 6, -1.0) or "")
    assert too_few(GateSection(max_drop=1.0), 1, -1.0) is None
    assert too_few(GateSection(confidence=None), 1, -1.0) is None
    # The judge's wins fall by one half at most.
    assert too_few(GateSection(max_drop=0.5), 1, -0.5) is None
    always_worse = Opponent("current", 0.5, of([-0.5], least=-0.5))
    assert decide("win_rate", 0.0, always_worse, None, section=GateSection(max_drop=0.5), seed=0).passed


def test_drops_do_not_accumulate_over_rounds() -> None:
    """Each policy is a little worse than the one before; the best one so far ends that."""
    level = [0.0] * 100
    worse = [-1.0] * 8 + [0.0] * 92
    assert gate(level, max_drop=0.05).passed
    found = gate(level, worse, max_drop=0.05)
    assert not found.passed
    assert found.best is not None
    assert (found.best.policy, found.best.before) == ("best", 0.6)
    assert found.change.endswith(f"at least +0.000 and {found.best.low:+.3f} against the best policy so far at 90%")


def test_the_best_policy_is_the_last_of_several_that_are_equal() -> None:
    assert best_of(["initial", "0", "1"], [0.3, 0.5, 0.5]) == "1"
    assert best_of(["initial", "0", "1"], [0.3, 0.5, 0.4]) == "0"
    assert best_of(["initial", "0"], [None, None]) == "0"


def test_a_missing_figure_never_passes() -> None:
    found = decide("score", 0.5, Opponent("", None, of([1.0] * 10)), None, section=GateSection(), seed=0)
    assert not found.passed
    assert found.change.startswith("score undefined → 0.500")
