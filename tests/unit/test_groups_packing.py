"""Groups and packs: each pair is in one group, each group once in an epoch, and all workers have as many passes."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.training.dpo.batch import make_batch
from rlaif.training.groups import Group, PackPlan, Pair, group_pairs, pack_in_order, plan_training, with_reference

tokens = st.lists(st.integers(0, 3), min_size=1, max_size=3)


def row(
    name: str, prompt: list[int], chosen: list[int], rejected: list[int], policy: str | None = "p"
) -> dict[str, Any]:
    return {
        "pair_id": name,
        "prompt_token_ids": prompt,
        "chosen_token_ids": chosen,
        "rejected_token_ids": rejected,
        "ref_chosen_logp": -float(sum(chosen)),
        "ref_rejected_logp": -float(sum(rejected)),
        "policy": policy,
    }


def test_pairs_of_one_prompt_share_their_candidates() -> None:
    groups = group_pairs(
        [row("a", [1, 2], [7], [8, 8]), row("b", [5], [7], [9]), row("c", [1, 2], [9], [7]), row("d", [1, 2], [9], [6])]
    )
    assert groups == [
        Group(
            (1, 2),
            ((7,), (8, 8), (9,), (6,)),
            (Pair("a", 0, 1, -7.0, -16.0), Pair("c", 2, 0, -9.0, -7.0), Pair("d", 2, 3, -9.0, -6.0)),
            "p",
        ),
        Group((5,), ((7,), (9,)), (Pair("b", 0, 1, -7.0, -9.0),), "p"),
    ]
    # Last tokens are only predicted.
    assert groups[0].tokens == 2 + 5 - 4


def test_a_reference_that_was_not_computed_is_nan() -> None:
    ((pair,),) = [
        group.pairs
        for group in group_pairs([{**row("a", [1], [2], [3]), "ref_chosen_logp": None, "ref_rejected_logp": None}])
    ]
    assert math.isnan(pair.ref_chosen_logp)
    assert math.isnan(pair.ref_rejected_logp)


def test_a_reference_computed_later_replaces_the_old_one() -> None:
    (group,) = group_pairs([row("a", [1], [2], [3]), row("b", [1], [3], [4])])
    (first, second) = with_reference(group, [-1.0, -2.0, -3.0]).pairs
    assert (first.ref_chosen_logp, first.ref_rejected_logp) == (-1.0, -2.0)
    assert (second.ref_chosen_logp, second.ref_rejected_logp) == (-2.0, -3.0)


@given(st.lists(st.tuples(tokens, tokens, tokens, st.sampled_from([None, "p", "q"])), max_size=30))
def test_no_pair_is_lost_doubled_or_changed(made: list[tuple[list[int], list[int], list[int], str | None]]) -> None:
    rows = [row(str(number), *parts) for number, parts in enumerate(made)]
    groups = group_pairs(rows, weight=lambda one: float(one["pair_id"]))
    back = {
        pair.id: (group.prompt_token_ids, group.candidates[pair.chosen], group.candidates[pair.rejected], group.policy)
        for group in groups
        for pair in group.pairs
    }
    assert back == {
        one["pair_id"]: (
            *(tuple(one[f"{name}_token_ids"]) for name in ("prompt", "chosen", "rejected")),
            one["policy"] or "",
        )
        for one in rows
    }
    pairs = [pair for group in groups for pair in group.pairs]
    assert len(pairs) == len(rows)
    for pair in pairs:
        assert pair.weight == float(pair.id)
        assert (pair.ref_chosen_logp, pair.ref_rejected_logp) == (
            rows[int(pair.id)]["ref_chosen_logp"],
            rows[int(pair.id)]["ref_rejected_logp"],
        )
    # A prompt has one group for each policy that sampled it, with each candidate once.
    keys = [(group.prompt_token_ids, group.policy) for group in groups]
    assert len(set(keys)) == len(keys)
    assert all(len(set(group.candidates)) == len(group.candidates) for group in groups)


def group_of(size: int, pairs: int = 1, weight: float = 1.0) -> Group:
    """A group of `size` tokens with so many pairs."""
    # Each candidate has one token, which is predicted but not part of the row.
    return Group((1,) * size, ((7,), (8,)), tuple(Pair(str(i), 0, 1, 0.0, 0.0, weight) for i in range(pairs)))


def by_step(plan: PackPlan) -> list[list[tuple[int, ...]]]:
    """The groups of each pack, step by step."""
    size = plan.accumulation * plan.workers
    return [[pack.groups for pack in plan.packs[start : start + size]] for start in range(0, len(plan.packs), size)]


sizes = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@given(sizes, st.integers(1, 3), st.integers(1, 9), st.integers(20, 90), st.integers(1, 5), st.integers(0, 3))
def test_every_group_occurs_once_in_each_epoch(
    lengths: list[int], epochs: int, per_step: int, budget: int, workers: int, seed: int
) -> None:
    groups = [group_of(length, pairs=1 + length % 3, weight=0.5 + length % 2) for length in lengths]
    plan = plan_training(
        groups, epochs=epochs, groups_per_step=per_step, max_tokens=budget, workers=workers, seed=seed
    )  # fmt: skip
    # Every worker has the same number of passes in every step, so none waits for one that never comes.
    assert len(plan.packs) == plan.steps * plan.accumulation * plan.workers
    steps = by_step(plan)
    assert len(steps) == plan.steps == epochs * math.ceil(len(groups) / per_step)
    each = plan.steps // epochs
    for epoch in range(epochs):
        found = [index for step in steps[epoch * each : (epoch + 1) * each] for pack in step for index in pack]
        assert Counter(found) == Counter(range(len(groups)))
    for number, step in enumerate(steps):
        indices = [index for pack in step for index in pack]
        assert len(indices) <= per_step
        weights = [pair.weight for group in groups for pair in group.pairs]
        weight = sum(weights) / len(weights) * sum(len(groups[index].pairs) for index in indices)
        packs = plan.packs[number * len(step) : (number + 1) * len(step)]
        assert [pack.step_weight for pack in packs] == pytest.approx([weight] * len(step))
        for pack in step:
            # Groups are whole, so a pack exceeds the budget by at most one group.
            assert sum(groups[index].tokens for index in pack) <= budget + max(lengths)


@given(sizes, st.integers(0, 3))
def test_the_seed_decides_the_plan(lengths: list[int], seed: int) -> None:
    groups = [group_of(length) for length in lengths]

    def plan(seed: int) -> PackPlan:
        return plan_training(groups, epochs=2, groups_per_step=4, max_tokens=64, workers=2, seed=seed)

    assert plan(seed) == plan(seed)


def test_each_epoch_has_its_own_order() -> None:
    groups = [group_of(10) for _ in range(20)]
    plan = plan_training(groups, epochs=2, groups_per_step=1, max_tokens=64, workers=1, seed=0)
    order = [index for pack in plan.packs for index in pack.groups]
    assert order[:20] != order[20:]
    assert plan != plan_training(groups, epochs=2, groups_per_step=1, max_tokens=64, workers=1, seed=1)


def test_workers_get_equal_tokens_as_far_as_whole_groups_allow() -> None:
    groups = [group_of(size) for size in (50, 30, 20, 40, 35, 25)]
    plan = plan_training(groups, epochs=1, groups_per_step=6, max_tokens=1000, workers=2, seed=0)
    assert (plan.steps, plan.accumulation) == (1, 1)
    assert [sum(groups[index].tokens for index in pack.groups) for pack in plan.packs] == [100, 100]


def test_a_group_larger_than_the_budget_is_trained_too() -> None:
    groups = [group_of(500), group_of(10)]
    plan = plan_training(groups, epochs=1, groups_per_step=2, max_tokens=64, workers=1, seed=0)
    assert (plan.steps, plan.accumulation) == (1, 2)
    assert sorted(pack.groups for pack in plan.packs) == [(0,), (1,)]


def test_a_worker_without_work_has_an_empty_pack_that_knows_its_step() -> None:
    plan = plan_training(
        [group_of(10, pairs=3, weight=0.5)], epochs=1, groups_per_step=8, max_tokens=64, workers=4, seed=0
    )  # fmt: skip
    assert sorted(pack.groups for pack in plan.packs) == [(), (), (), (0,)]
    assert {pack.step_weight for pack in plan.packs} == {1.5}


def test_a_pair_that_is_alone_in_its_step_keeps_its_weight() -> None:
    """By hand: weights 0.01, 1 and 1 have the mean 0.67, so alone in a step they count 0.0149, 1.4925 and 1.4925."""
    groups = [group_of(10, weight=0.01), group_of(10, weight=1.0), group_of(10, weight=1.0)]
    plan = plan_training(groups, epochs=1, groups_per_step=1, max_tokens=64, workers=1, seed=0)
    counts = {
        pack.groups[0]: float(make_batch([groups[pack.groups[0]]], pack.step_weight).weights) for pack in plan.packs
    }
    assert counts == pytest.approx({0: 0.01 / 0.67, 1: 1 / 0.67, 2: 1 / 0.67})


@given(sizes, st.integers(1, 9))
def test_equal_weights_are_the_mean_over_a_steps_pairs_to_the_digit(lengths: list[int], per_step: int) -> None:
    groups = [group_of(length, pairs=1 + length % 3) for length in lengths]
    plan = plan_training(groups, epochs=1, groups_per_step=per_step, max_tokens=64, workers=2, seed=0)
    for step in range(plan.steps):
        packs = plan.packs[step * plan.accumulation * 2 : (step + 1) * plan.accumulation * 2]
        pairs = sum(len(groups[index].pairs) for pack in packs for index in pack.groups)
        assert {pack.step_weight for pack in packs} == {pairs}


def test_nothing_to_train_on_is_a_plan_without_steps() -> None:
    plan = plan_training([], epochs=3, groups_per_step=8, max_tokens=64, workers=2, seed=0)
    assert (plan.packs, plan.steps) == ((), 0)


@given(sizes, st.integers(10, 90))
def test_packs_in_order_hold_neighbours_that_fit(lengths: list[int], budget: int) -> None:
    groups = [group_of(length) for length in lengths]
    runs = pack_in_order(groups, budget)
    assert [index for run in runs for index in run] == list(range(len(groups)))
    totals = [sum(groups[index].tokens for index in run) for run in runs]
    assert all(total <= budget or len(run) == 1 for total, run in zip(totals, runs, strict=True))
    # And no run ends before its budget does.
    for number, run in enumerate(runs[1:]):
        assert totals[number] + groups[run[0]].tokens > budget
