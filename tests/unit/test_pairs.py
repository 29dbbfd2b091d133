"""From verdicts to pairs: only an `ok` decision becomes one, and its winner is chosen; the rest is counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, get_args

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.data.question import Question
from rlaif.judges.decisions import decide_by_orders, decide_by_scores, own_verdicts
from rlaif.judges.judge import Comparison, Decision, Order, Status, Verdict
from rlaif.preferences.pairs import PairCounts, PeopleDecision, choose, pair_id, pair_rows
from rlaif.preferences.round_pairs import sampled_columns
from rlaif.recipe import PairsSection
from rlaif.store.schemas import PAIRS

PROMPT = Question("q1", "What was revenue?", context="Revenue was $5.")
STATUSES: list[Status] = [*get_args(Status)]


class BothOrders:
    """A judge that compares in both orders; it decides as the project's judges do, from a test's verdicts."""

    name, sha = "compares", "c0"

    async def verdicts(
        self, prompt: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        raise AssertionError("pairing asks nothing")

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), ("ab", "ba"))


class Rates(BothOrders):
    """A judge that rates candidates one by one."""

    name, sha = "rates", "r0"

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_scores(own_verdicts(self, prompt_id, verdicts))


def candidates(count: int) -> list[dict[str, Any]]:
    return [
        {
            "prompt_id": PROMPT.id,
            "candidate": index,
            "text": f"answer {index}",
            "token_ids": [10 + index] * (index + 1),
            "logprobs": [-0.5] * (index + 1),
            "policy": "weights",
            "prompt_token_ids": [1, 2, 3],
        }
        for index in range(count)
    ]


def compared(first: int, second: int, *preferences: float | Status) -> list[Verdict]:
    """Verdicts on two candidates, one for each order: P(first is better), or a status without a preference."""
    orders: list[Order] = ["ab", "ba"]
    return [
        Verdict(PROMPT.id, first, second, "ok", value, None, "", "compares", "c0", order=order)
        if isinstance(value, float)
        else Verdict(PROMPT.id, first, second, value, None, None, "", "compares", "c0", order=order)
        for order, value in zip(orders, preferences, strict=True)
    ]


def rated(*scores: float | Status) -> list[Verdict]:
    return [
        Verdict(PROMPT.id, index, None, "ok", None, value, "", "rates", "r0")
        if isinstance(value, float)
        else Verdict(PROMPT.id, index, None, value, None, None, "", "rates", "r0")
        for index, value in enumerate(scores)
    ]


def pairs_of(
    verdicts: Sequence[Verdict],
    section: PairsSection | None = None,
    judge: BothOrders | None = None,
    count: int = 4,
    counts: PairCounts | None = None,
    cut: Collection[int] = (),
    people: Mapping[Comparison, PeopleDecision] | None = None,
) -> list[dict[str, Any]]:
    sampled = candidates(count)
    return pair_rows(
        PROMPT,
        {row["candidate"]: row["text"] for row in sampled},
        verdicts,
        [{"role": "user", "content": PROMPT.question}],
        judge=judge or BothOrders(),
        section=section or PairsSection(),
        source_columns=sampled_columns(2, sampled),
        cut=cut,
        people=people,
        counts=counts if counts is not None else PairCounts(),
    )


def winners(rows: Sequence[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(row["chosen_candidate"], row["rejected_candidate"]) for row in rows]


def test_a_pair_has_its_provenance() -> None:
    (row,) = pairs_of(compared(1, 3, 0.125, 0.25))
    assert row == {
        "pair_id": pair_id(2, "q1", 3, 1),
        "prompt": [{"role": "user", "content": "What was revenue?"}],
        "chosen": [{"role": "assistant", "content": "answer 3"}],
        "rejected": [{"role": "assistant", "content": "answer 1"}],
        "prompt_id": "q1",
        "chosen_candidate": 3,
        "chunks": None,
        "rejected_candidate": 1,
        # The ids that were sampled, whatever a tokenizer would make of the texts.
        "prompt_token_ids": [1, 2, 3],
        "chosen_token_ids": [13, 13, 13, 13],
        "rejected_token_ids": [11, 11],
        "ref_chosen_logp": -2.0,
        "ref_rejected_logp": -1.0,
        "score_chosen": None,
        "score_rejected": None,
        "margin": 0.625,
        "source": "ai",
        "judge": "compares",
        "judge_sha": "c0",
        "policy": "weights",
        "round": 2,
        "labelled_by": None,
    }
    assert pa.Table.from_pylist([row], schema=PAIRS).to_pylist() == [row]


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        ((0.75, 0.75), [(0, 1)]),
        ((0.25, 0.25), [(1, 0)]),
        ((1.0, 0.5000001), [(0, 1)]),
        # Orders that disagree, with any confidence, and a judge without a preference.
        ((1.0, 0.0), []),
        ((0.999, 0.499), []),
        ((0.5, 0.5), []),
        ((1.0, 0.5), []),
        # An order without a preference voids the other.
        ((1.0, "tie"), []),
        ((1.0, "unparsed"), []),
        ((0.0, "error"), []),
        (("tie", "tie"), []),
        (("unparsed", "error"), []),
    ],
)
def test_only_orders_that_agree_make_a_pair(
    preferences: tuple[float | Status, float | Status], expected: list[tuple[int, int]]
) -> None:
    assert winners(pairs_of(compared(0, 1, *preferences))) == expected


def test_an_order_that_was_never_asked_makes_no_pair() -> None:
    assert pairs_of(compared(0, 1, 1.0, 1.0)[:1]) == []


def test_the_higher_score_is_chosen_and_comes_with_both_scores() -> None:
    rows = pairs_of(rated(2.0, 5.0, "unparsed", 5.0), judge=Rates())
    assert [
        (row["chosen_candidate"], row["rejected_candidate"], row["score_chosen"], row["score_rejected"], row["margin"])
        for row in rows
    ] == [(1, 0, 5.0, 2.0, 3.0), (3, 0, 5.0, 2.0, 3.0)]


def test_decisions_without_a_pair_are_counted() -> None:
    counts = PairCounts()
    verdicts = [
        *compared(0, 1, 1.0, 1.0),
        *compared(0, 2, 0.625, 0.625),
        *compared(0, 3, 1.0, 0.0),
        *compared(1, 2, 1.0, "unparsed"),
        *compared(1, 3, "error", 1.0),
    ]
    assert winners(pairs_of(verdicts, PairsSection(min_margin=0.5), counts=counts)) == [(0, 1)]
    assert pairs_of([], counts=counts) == []
    assert vars(counts) == {
        "prompts": 1,
        "pairs": 1,
        "below_margin": 1,
        "truncated": 0,
        "candidates": 8,
        "cut": 0,
        "by_status": {"ok": 2, "tie": 1, "unparsed": 1, "error": 1},
        "by_judge": {"compares": 1},
        "by_people": {},
        "preferences": 0,
    }


def test_verdicts_of_another_judge_or_question_are_ignored() -> None:
    ours = compared(0, 1, 1.0, 1.0)
    assert pairs_of([replace(verdict, prompt_id="q2") for verdict in ours]) == []
    assert pairs_of([replace(verdict, judge_sha="c1") for verdict in ours]) == []


@pytest.mark.parametrize(("least", "expected"), [(0.0, 3), (0.25, 3), (0.5, 2), (0.50001, 1), (1.0, 1)])
def test_a_margin_at_the_least_one_is_wide_enough(least: float, expected: int) -> None:
    verdicts = [*compared(0, 1, 0.625, 0.625), *compared(0, 2, 0.75, 0.75), *compared(0, 3, 1.0, 1.0)]
    assert len(pairs_of(verdicts, PairsSection(min_margin=least))) == expected


def test_the_widest_margins_come_first_and_equal_ones_by_candidate() -> None:
    verdicts = [
        *compared(2, 3, 0.75, 0.75),
        *compared(0, 3, 0.25, 0.25),
        *compared(0, 1, 0.625, 0.625),
        *compared(1, 2, 0.0, 0.0),
    ]
    everything = [(2, 1), (3, 0), (2, 3), (0, 1)]
    assert winners(pairs_of(verdicts)) == everything
    for most in (1, 2, 3, 4, 9):
        assert winners(pairs_of(verdicts, PairsSection(max_per_question=most))) == everything[:most]
    assert winners(pairs_of(verdicts, PairsSection(per_question="best-worst"))) == everything[:1]
    assert winners(pairs_of(verdicts[::-1])) == everything


def test_a_pairs_id_is_its_own_and_stays() -> None:
    """It depends on round, question and candidates: a run that is killed and started again gives the same ids."""
    assert pair_id(2, "q1", 3, 1) == "1bf1bc6d63e19ec6"
    ids = {
        pair_id(number, prompt, *indices)
        for number in (0, 1, 10)
        for prompt in ("q1", "q", "1q1")
        for indices in ((0, 1), (1, 0), (10, 1), (1, 10))
    }
    assert len(ids) == 3 * 3 * 4


value = st.floats(0, 1) | st.sampled_from(STATUSES[1:])


@given(
    st.integers(2, 5).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.fixed_dictionaries({pair: st.tuples(value, value) for pair in combinations(range(count), 2)}),
        )
    ),
    st.builds(
        PairsSection,
        per_question=st.sampled_from(["all", "best-worst"]),
        min_margin=st.floats(0, 1),
        max_per_question=st.none() | st.integers(1, 4),
    ),
    st.randoms(use_true_random=False),
)
def test_no_pair_without_a_preference_of_both_orders(
    given_: tuple[int, dict[Comparison, tuple[float | Status, float | Status]]], section: PairsSection, draw: Any
) -> None:
    count, preferences = given_
    verdicts = [verdict for (a, b), values in preferences.items() for verdict in compared(a, b, *values)]
    counts = PairCounts()
    rows = pairs_of(verdicts, section, count=count, counts=counts)
    for row in rows:
        chosen, rejected = row["chosen_candidate"], row["rejected_candidate"]
        values = preferences[min(chosen, rejected), max(chosen, rejected)]
        assert all(isinstance(one, float) and (one > 0.5 if chosen < rejected else one < 0.5) for one in values)
        assert section.min_margin <= row["margin"] <= 1
    assert len({row["pair_id"] for row in rows}) == len(rows) == counts.pairs
    assert counts.by_status.total() == len(preferences)
    assert len(rows) <= counts.by_status["ok"] - counts.below_margin
    if section.per_question == "all" and section.max_per_question is None:
        assert len(rows) == counts.by_status["ok"] - counts.below_margin
    # The order in which verdicts came does not matter.
    draw.shuffle(verdicts)
    assert pairs_of(verdicts, section, count=count) == rows


@given(st.lists(st.tuples(value, value), min_size=1, max_size=6))
def test_choosing_does_not_change_its_input(values: list[tuple[float | Status, float | Status]]) -> None:
    verdicts = [verdict for index, both in enumerate(values) for verdict in compared(0, index + 1, *both)]
    decisions = BothOrders().decide(PROMPT.id, len(values) + 1, verdicts)
    chosen = choose(decisions, PairsSection())
    assert all(decision in decisions and decision.status == "ok" for decision in chosen)
    assert [decision.margin for decision in chosen] == sorted(
        (decision.margin for decision in decisions if decision.margin is not None), reverse=True
    )


# Candidate 0 is better than 1, 1 than 2, and 0 than 2; 1 was cut at the longest length.
ORDERED = [*compared(0, 1, 0.9, 0.9), *compared(1, 2, 0.9, 0.9), *compared(0, 2, 0.9, 0.9)]


@pytest.mark.parametrize(
    ("truncated", "expected", "left_out"),
    [("never_chosen", [(0, 1), (0, 2)], 1), ("leave_out", [(0, 2)], 2), ("allow", [(0, 1), (0, 2), (1, 2)], 0)],
)
def test_an_answer_that_was_cut_is_preferred_only_where_the_recipe_allows_it(
    truncated: Any, expected: list[tuple[int, int]], left_out: int
) -> None:
    counts = PairCounts()
    rows = pairs_of(ORDERED, PairsSection(truncated=truncated), count=3, counts=counts, cut={1})
    assert winners(rows) == expected
    assert (counts.truncated, counts.pairs, counts.by_status["ok"]) == (left_out, len(expected), 3)
    assert ("left out by pairs.truncated" in counts.statuses) == bool(left_out)


def test_by_default_a_cut_answer_is_never_chosen_nor_takes_the_place_of_another() -> None:
    assert winners(pairs_of(ORDERED, count=3, cut={0})) == [(1, 2)]
    # The widest margin among the pairs that are left, not that of a cut answer.
    best = [*compared(0, 1, 0.95, 0.95), *compared(1, 2, 0.8, 0.8)]
    assert winners(pairs_of(best, PairsSection(per_question="best-worst"), count=3, cut={0})) == [(1, 2)]


def test_a_round_whose_answers_are_all_cut_gets_one_line_of_advice() -> None:
    counts = PairCounts()
    assert pairs_of(ORDERED, count=3, counts=counts, cut={0, 1, 2}) == []
    assert counts.advice == (
        "3 of 3 candidates were cut by length: raise sampling.max_tokens, ask for shorter answers, or set "
        "pairs.truncated: allow"
    )
    few = PairCounts()
    pairs_of(ORDERED, count=3, counts=few, cut={0})
    assert few.advice is None


def test_a_comparison_below_the_margin_is_counted_once() -> None:
    counts = PairCounts()
    pairs_of(ORDERED, PairsSection(min_margin=0.9), count=3, counts=counts, cut={0, 1})
    assert (counts.below_margin, counts.truncated) == (3, 0)


def by_people(*outcomes: tuple[Comparison, Any]) -> dict[Comparison, PeopleDecision]:
    return {comparison: PeopleDecision(outcome, ("ann", "bob")) for comparison, outcome in outcomes}


def test_people_outweigh_the_judge_on_the_same_comparison() -> None:
    verdicts = [
        *compared(0, 1, 0.9, 0.9),
        *compared(0, 2, 1.0, 0.0),
        *compared(0, 3, "error", "error"),
        *compared(1, 2, 0.9, 0.9),
        *compared(1, 3, 0.9, 0.9),
        *compared(2, 3, 0.9, 0.9),
    ]
    # People see it the other way, decide where the judge ties and errs, and see no winner where it does.
    people = by_people(((0, 1), "second"), ((0, 2), "first"), ((0, 3), "second"), ((1, 2), "tie"), ((1, 3), "both_bad"))
    counts = PairCounts()
    rows = pairs_of(verdicts, counts=counts, people=people)
    assert winners(rows) == [(1, 0), (0, 2), (3, 0), (2, 3)]
    assert [row["source"] for row in rows] == ["human"] * 3 + ["ai"]
    (row, *_) = rows
    assert (row["judge"], row["judge_sha"], row["margin"], row["score_chosen"]) == (None, None, None, None)
    assert row["labelled_by"] == ["ann", "bob"]
    assert row["pair_id"] == pair_id(2, "q1", 1, 0)
    assert pa.Table.from_pylist(rows, schema=PAIRS).to_pylist() == rows
    assert counts.by_people == {"first": 1, "second": 2, "tie": 1, "both_bad": 1}
    assert counts.by_judge == {"people": 3, "compares": 1}
    # The judge's own decisions are counted as they were.
    assert counts.by_status == {"ok": 4, "tie": 1, "error": 1}
    assert "5 decided by people" in counts.statuses


def test_peoples_pairs_come_first_whatever_the_margin() -> None:
    verdicts = [*compared(0, 1, 0.9, 0.9), *compared(0, 2, 0.51, 0.51)]
    people = by_people(((0, 2), "second"))
    assert winners(pairs_of(verdicts, PairsSection(min_margin=0.5), people=people)) == [(2, 0), (0, 1)]
    assert winners(pairs_of(verdicts, PairsSection(per_question="best-worst"), people=people)) == [(2, 0)]
    assert winners(pairs_of(verdicts, PairsSection(max_per_question=2), people=people)) == [(2, 0), (0, 1)]


def test_people_do_not_make_a_cut_answer_the_chosen_one() -> None:
    counts = PairCounts()
    rows = pairs_of(ORDERED, count=3, counts=counts, cut={1}, people=by_people(((0, 1), "second")))
    assert winners(rows) == [(0, 2)]
    assert counts.truncated == 2
