"""The judge report's figures: by hand, against LLMBar's published ones, and under changes that must not matter."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.data.label_conversion import convert_labels
from rlaif.data.labels import Label, Side
from rlaif.judge_evals.comparison import compare
from rlaif.judge_evals.judge_report import measure, worst_disagreements
from rlaif.judge_evals.judging import JudgedLabel
from rlaif.judges.decisions import decide_by_orders, decide_by_scores
from rlaif.judges.judge import Order, Verdict
from rlaif.recipe.judge import Prices
from rlaif.stats.agreement import mcnemar_exact
from rlaif.stats.bootstrap import estimates, ratio
from tests.unit.judged_labels import SHA, Said, judged, label, value


def swapped(item: JudgedLabel) -> JudgedLabel:
    """The same label with its two answers exchanged."""
    side: dict[str, Side] = {"a": "b", "b": "a", "tie": "tie"}
    one = item.label
    other = one.model_copy(update={"answer_a": one.answer_b, "answer_b": one.answer_a, "human": side[one.human]})
    order: dict[Order, Order] = {"ab": "ba", "ba": "ab", "single": "single"}
    verdicts = tuple(
        replace(v, order=order[v.order], preference=None if v.preference is None else 1.0 - v.preference)
        for v in item.verdicts
    )
    (decision,) = decide_by_orders(verdicts, ("ab", "ba"))
    return JudgedLabel(other, verdicts, decision)


FIVE = [
    judged(label("1"), 0.9, 0.8),  # right in both orders
    judged(label("2", "b"), 0.7, 0.9),  # wrong in both orders
    judged(label("3"), 0.6, 0.2),  # the first shown, twice
    judged(label("4", "b"), 0.3, 0.6),  # the second shown, twice
    judged(label("5"), "unparsed", 0.9),
]


def test_the_figures_are_those_computed_by_hand() -> None:
    found = measure(FIVE)
    assert (found.labels, found.preferred, found.questions) == (5, 5, 5)
    expected = {
        "accuracy": 1 / 5, "ties_half": 2 / 5, "accuracy_decided": 1 / 2, "tie": 2 / 5, "unparsed": 1 / 5, "error": 0,
        "silent": 0, "accuracy_ab": 3 / 5, "accuracy_ba": 2 / 5, "orders_agree": 2 / 4, "first_both": 1 / 4,
        "second_both": 1 / 4, "prefers_first": 4 / 9, "verdict_unparsed": 1 / 10, "verdict_error": 0,
        "prefers_longer": 1.0, "people_prefer_longer": 3 / 5, "always_longer": 3 / 5, "prompt_tokens": 9.0,
        "seconds": 1,
    }  # fmt: skip
    for name, figure in expected.items():
        assert value(found, name) == pytest.approx(figure), name
    # Of the four labels that were read: people say a b a b, the judge a a tie tie.
    assert value(found, "kappa") == pytest.approx((1 / 4 - 2 / 8) / (1 - 2 / 8))
    assert found.confusion["a"] == {"a": 1, "b": 0, "tie": 1, "unparsed": 1, "error": 0, "silent": 0}
    assert found.figures["accuracy"].n == 5
    assert found.figures["accuracy_decided"].n == 2


def test_the_distribution_of_the_mass_is_that_computed_by_hand() -> None:
    """Of verdicts read from log-probabilities: those of below the limit are unparsed."""
    masses = [0.05, 0.2, 0.4, 0.6, 0.8, 1.0]
    items = []
    for number, mass in enumerate(masses):
        one = judged(label(str(number)), "unparsed" if mass < 0.1 else 0.9, 0.9)
        items.append(replace(one, verdicts=(replace(one.verdicts[0], mass=mass), one.verdicts[1])))
    found = measure(items)
    quantiles = [value(found, f"mass_p{percent}") for percent in (5, 25, 50, 75, 95)]
    assert quantiles == pytest.approx(list(np.quantile(masses, [0.05, 0.25, 0.5, 0.75, 0.95])))
    assert value(found, "low_mass") == pytest.approx(1 / 6)
    assert {found.judges[0].figures[name].n for name in ("mass_p50", "low_mass")} == {6}
    assert not {name for name in measure(FIVE).judges[0].figures if "mass" in name}


def test_lengths_are_those_of_what_the_judge_sees() -> None:
    thinking = "<think>" + "long " * 50 + "</think>7"
    found = measure([judged(label("1", a=thinking, b="seven"), 0.9, 0.9)])
    assert value(found, "prefers_longer") == 0.0


def test_kappa_is_that_computed_by_hand() -> None:
    """Twenty of 50 yes by both, 15 no by both, 5 and 10 mixed: po 0.7, pe 0.5, kappa 0.4."""
    counts = {("a", "a"): 20, ("a", "b"): 5, ("b", "a"): 10, ("b", "b"): 15}
    items = [
        judged(label(f"{human}{said}{number}", human), float(said == "a"), float(said == "a"))
        for (human, said), count in counts.items()
        for number in range(count)
    ]
    assert value(measure(items), "kappa") == pytest.approx(0.4)


def test_kappa_is_left_out_if_both_always_decide_alike() -> None:
    assert "kappa" not in measure([judged(label(str(n)), 1.0, 1.0) for n in range(5)]).figures


def test_calibration_is_that_computed_by_hand() -> None:
    """Two bins: 0.9 twice, right once; 0.6 twice, right twice."""
    items = [
        judged(label("1"), 0.9, 0.9), judged(label("2", "b"), 0.9, 0.9),
        judged(label("3"), 0.6, 0.6), judged(label("4", "b"), 0.4, 0.4),
    ]  # fmt: skip
    found = measure(items)
    assert value(found, "ece") == pytest.approx((abs(1 - 1.8) + abs(2 - 1.2)) / 4)
    assert value(found, "brier") == pytest.approx((0.01 + 0.81 + 0.16 + 0.16) / 4)
    (member,) = found.judges
    assert [(b.confidence, b.right.value, b.right.n) for b in member.reliability] == [
        (pytest.approx(0.6), 1.0, 2), (pytest.approx(0.9), 0.5, 2),
    ]  # fmt: skip


def test_ratings_that_are_log_odds_are_calibrated_by_their_decisions() -> None:
    """A reward model's scores of 1 and 0, twice: it is 73% sure, and right once."""
    items = []
    sides: list[tuple[str, Side]] = [("1", "a"), ("2", "b")]
    for name, human in sides:
        ratings = [
            Verdict(name, index, None, "ok", None, score, "", "judge", SHA) for index, score in enumerate((1.0, 0.0))
        ]
        items.append(JudgedLabel(label(name, human), tuple(ratings), decide_by_scores(ratings, log_odds=True)[0]))
    found = measure(items)
    sure = 1 / (1 + math.exp(-1))
    assert value(found, "ece") == pytest.approx(sure - 0.5)
    assert [(bin_.confidence, bin_.right.value) for bin_ in found.reliability] == [(pytest.approx(sure), 0.5)]
    assert "orders_agree" not in found.judges[0].figures


def test_money_is_the_price_of_the_tokens() -> None:
    prices = Prices(prompt=3.0, completion=10.0, currency="EUR")
    found = measure(FIVE, prices={SHA: prices})
    assert found.judges[0].spent.money == pytest.approx(9 * 10 * 3e-6)
    assert value(found, "money") == pytest.approx(9 * 10 * 3e-6 / 10)
    assert found.judges[0].spent.currency == "EUR"


def test_a_judge_of_hard_preferences_has_no_calibration() -> None:
    found = measure([judged(label("1"), 1.0, 1.0), judged(label("2"), 0.0, 1.0)])
    assert "ece" not in found.judges[0].figures
    assert found.judges[0].reliability == ()


def test_peoples_ties_count_only_for_kappa() -> None:
    items = [judged(label("1", "tie"), None, None), judged(label("2"), 1.0, 1.0)]
    found = measure(items)
    assert (found.preferred, value(found, "accuracy"), value(found, "kappa")) == (1, 1.0, 1.0)


def test_a_silent_judge_is_counted_and_never_right() -> None:
    found = measure([JudgedLabel(label("1"), (), None)])
    assert (value(found, "silent"), value(found, "accuracy"), found.judges) == (1.0, 0.0, ())


def test_preference_for_length_is_measured_by_the_ratio_of_lengths() -> None:
    """Labels of ratios 2 to 9; people prefer the longer one, the judge only if it is six times as long."""
    items = [judged(label(str(n), a="x" * n * 10, b="y" * 10), float(n >= 6), float(n >= 6)) for n in range(2, 10)] + [
        judged(label("same", a="x", b="y"), 1.0, 1.0)
    ]
    lengths = measure(items).length
    assert (lengths[0].low, lengths[-1].high) == (2.0, 9.0)
    assert (lengths[0].judge.value, lengths[-1].judge.value) == (0.0, 1.0)
    assert {bin_.people.value for bin_ in lengths} == {1.0}
    assert sum(bin_.people.n for bin_ in lengths) == 8
    assert measure(items[-1:]).length == ()


def test_labels_of_one_question_are_drawn_together() -> None:
    """Ten labels of one question and ten of another are two draws, not twenty."""
    right, shared = [1.0] * 10 + [0.0] * 10, ["q1"] * 10 + ["q2"] * 10
    (together,) = estimates([ratio(right, [1.0] * 20)], shared)
    (apart,) = estimates([ratio(right, [1.0] * 20)], range(20))
    assert (together.low, together.high) == (0.0, 1.0)
    assert (apart.low or 0.0) > 0.2


def test_intervals_are_those_of_the_percentile_bootstrap() -> None:
    values = np.random.default_rng(7).normal(3.0, 2.0, 400)
    (found,) = estimates([ratio(values, np.ones(400))], range(400))
    assert found.value == pytest.approx(values.mean())
    error = values.std() / math.sqrt(400)
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert estimates([ratio(values, np.ones(400))], range(400)) == [found]
    assert estimates([ratio(values, np.ones(400))], range(400), seed=1) != [found]


saying: st.SearchStrategy[Said] = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5 + 1 / 64, 0.75, 1.0]), st.sampled_from([None, "unparsed", "error"])
)
one_item = st.tuples(st.sampled_from(["a", "b", "tie"]), saying, saying, st.sampled_from(["", "x", "longer"]))
items = st.lists(one_item, min_size=1, max_size=12)


@settings(deadline=None, max_examples=50)
@given(items)
def test_exchanging_all_answers_exchanges_the_orders_and_changes_nothing_else(
    drawn: Sequence[tuple[Side, Said, Said, str]],
) -> None:
    said = [judged(label(str(n), human, a=text), ab, ba) for n, (human, ab, ba, text) in enumerate(drawn)]
    one, other = measure(said), measure([swapped(item) for item in said])
    assert one.figures == other.figures
    mine, theirs = dict(one.judges[0].figures), dict(other.judges[0].figures)
    mine["accuracy_ab"], mine["accuracy_ba"] = mine.get("accuracy_ba"), mine.get("accuracy_ab")  # type: ignore[assignment]
    assert {name: mine.get(name) for name in theirs} == {name: theirs.get(name) for name in theirs}


@settings(deadline=None, max_examples=50)
@given(items)
def test_every_figure_has_a_finite_interval_and_every_share_lies_in_0_to_1(
    drawn: Sequence[tuple[Side, Said, Said, str]],
) -> None:
    found = measure([judged(label(str(n), human), ab, ba) for n, (human, ab, ba, _) in enumerate(drawn)])
    for name, estimate in {**found.figures, **found.judges[0].figures}.items():
        low, middle, high = estimate.low, estimate.value, estimate.high
        assert low is not None, name
        assert middle is not None, name
        assert high is not None, name
        assert math.isfinite(low + middle + high), name
        if name not in ("kappa", "orders_kappa", "prompt_tokens"):
            assert 0.0 <= low <= high <= 1.0 + 1e-12, name
    assert sum(sum(row.values()) for row in found.confusion.values()) == found.labels
    if found.preferred:
        assert value(found, "accuracy") <= value(found, "ties_half") <= 1.0


@settings(deadline=None, max_examples=50)
@given(items)
def test_unreadable_verdicts_are_never_right(drawn: Sequence[tuple[Side, Said, Said, str]]) -> None:
    said = [judged(label(str(n), human), ab, ba) for n, (human, ab, ba, _) in enumerate(drawn)]
    assert not any(item.right for item in said if any(v.status in ("unparsed", "error") for v in item.verdicts))


def test_the_surest_disagreements_come_first_and_peoples_ties_last() -> None:
    items = [
        judged(label("right"), 0.9, 0.9), judged(label("tied", "tie"), 1.0, 1.0),
        judged(label("unsure", "b"), 0.6, 0.6), judged(label("sure", "b"), 0.9, 0.9),
    ]  # fmt: skip
    assert [item.label.id for item in worst_disagreements(items)] == ["sure", "unsure", "tied"]
    assert len(worst_disagreements(items, 1)) == 1


def test_the_comparison_of_two_judges_is_that_computed_by_hand() -> None:
    first = [judged(label(str(n)), float(n < 6), float(n < 6)) for n in range(10)]
    second = [judged(label(str(n)), float(n != 0), float(n != 0)) for n in range(10)]
    found = compare(first, second)
    assert (found.both_right, found.only_first, found.only_second, found.neither) == (5, 1, 4, 0)
    assert (found.first.value, found.second.value, found.difference.value) == (0.6, 0.9, pytest.approx(0.3))
    # Five flips, one of them for the first: 2 * (1 + 5) / 2**5.
    assert found.p_value == pytest.approx(2 * 6 / 32)
    assert [flip.id for flip in found.flips if flip.right == "first"] == ["0"]
    back = compare(second, first)
    assert (back.p_value, back.difference.value) == (found.p_value, pytest.approx(-0.3))


def test_judges_that_never_flip_do_not_differ() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 5) == 1.0
    assert mcnemar_exact(0, 10) == pytest.approx(2 / 1024)


@pytest.mark.parametrize("name", ["GPT-4/Vanilla", "GPT-4/CoT", "GPT-4/Rating", "ChatGPT/Vanilla", "ChatGPT/Rating"])
def test_recorded_judgments_give_the_figures_that_llmbar_published(shared_data: Path, name: str) -> None:
    """The recorded judgments of GPT-4 and ChatGPT, read as LLMBar reads them, give LLMBar's published figures."""
    pairs = shared_data / "llmbar-natural" / "pairs.jsonl"
    published = json.loads(pairs.with_name("published.json").read_text(encoding="utf-8"))[name]
    recorded = [json.loads(line)["recorded"][name] for line in pairs.read_text(encoding="utf-8").split("\n") if line]
    labels = convert_labels(str(pairs)).labels
    found = measure([_replayed(item, said) for item, said in zip(labels, recorded, strict=True)])

    def share(key: str) -> float:
        return float(re.findall(r"([\d.]+)%", published[key])[0]) / 100

    assert value(found, "accuracy") == pytest.approx(share("correct_both"))
    assert value(found, "ties_half") == pytest.approx(share("correct_average"))
    if not name.endswith("Rating"):
        assert value(found, "accuracy_ab") == pytest.approx(share("correct_False"))
        assert value(found, "accuracy_ba") == pytest.approx(share("correct_True"))
        assert value(found, "orders_agree") == pytest.approx(share("equal"))
        assert value(found, "orders_kappa") == pytest.approx(published["kappa_agreement"])


def _replayed(item: Label, said: dict[str, str]) -> JudgedLabel:
    if "first" in said:
        ratings = [
            Verdict(item.id, index, None, "ok", None, float(said[which]), said[which], "judge", SHA)
            for index, which in enumerate(("first", "second"))
        ]
        return JudgedLabel(item, tuple(ratings), decide_by_scores(ratings)[0])
    shown = {
        order: re.findall(r"Output \(([ab])\)", said[key])[-1] for order, key in (("ab", "as_given"), ("ba", "swapped"))
    }
    return judged(item, float(shown["ab"] == "a"), float(shown["ba"] == "b"))
