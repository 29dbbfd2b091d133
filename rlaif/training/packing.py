"""Which groups go into which forward pass of which worker.

Invariant: in every epoch each group stands in exactly one pack, and every optimizer step has the same number of
packs for each worker, so that workers never wait for a gradient that does not come. Workers get equal tokens, as far
as whole groups allow, and each pack knows what the pairs of its whole step weigh: the loss of a step is the weighted
mean over its pairs, however they were spread.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.training.groups import Group


@dataclass(frozen=True, slots=True)
class Pack:
    """Groups of one forward pass.

    Attributes:
        groups: indices of groups; empty where a worker has nothing to do in this turn.
        step_weight: summed weight of the pairs of the whole optimizer step, over all packs and workers.
    """

    groups: tuple[int, ...]
    step_weight: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All packs of a training, in the order that `Trainer` reads them: by step, then turn, then worker.

    Attributes:
        packs: `steps * turns * workers` of them.
        steps: optimizer steps.
        turns: forward passes of each worker in a step (gradient accumulation).
        workers: data-parallel workers.
    """

    packs: tuple[Pack, ...]
    steps: int
    turns: int
    workers: int


def plan_training(
    groups: Sequence[Group], *, epochs: int, groups_per_step: int, max_tokens: int, workers: int, seed: int
) -> Plan:
    """Lay out a training.

    Args:
        groups: what to train on.
        epochs: passes over the groups, each in a new seeded order.
        groups_per_step: groups of one optimizer step over all workers; the last step of an epoch may have fewer.
        max_tokens: token budget of a pack; a group that is larger alone gets a pack of its own.
        workers: data-parallel workers.
        seed: of the orders.
    """
    order = random.Random(f"training-order-{seed}")
    steps: list[list[int]] = []
    for _ in range(epochs):
        indices = list(range(len(groups)))
        order.shuffle(indices)
        steps += [indices[start : start + groups_per_step] for start in range(0, len(indices), groups_per_step)]
    binned = [_bins(groups, step, max_tokens) for step in steps]
    turns = max((math.ceil(len(bins) / workers) for bins in binned), default=1)
    packs: list[Pack] = []
    for step in steps:
        weight = sum(pair.weight for index in step for pair in groups[index].pairs)
        packs += [Pack(tuple(bin_), weight) for bin_ in _spread(groups, step, turns * workers)]
    return Plan(tuple(packs), len(steps), turns, workers)


def pack_in_order(groups: Sequence[Group], max_tokens: int) -> list[list[int]]:
    """Return runs of neighbouring groups that fit the token budget; a larger group stands alone."""
    runs: list[list[int]] = []
    room = 0
    for index, group in enumerate(groups):
        if not runs or group.tokens > room:
            runs.append([])
            room = max_tokens
        runs[-1].append(index)
        room -= group.tokens
    return runs


def _bins(groups: Sequence[Group], step: Sequence[int], max_tokens: int) -> list[list[int]]:
    """First-fit-decreasing, to learn how many packs the largest step needs."""
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(step, key=lambda index: (-groups[index].tokens, index)):
        tokens = groups[index].tokens
        place = next((i for i, free in enumerate(room) if tokens <= free), None)
        if place is None:
            bins.append([index])
            room.append(max_tokens - tokens)
        else:
            bins[place].append(index)
            room[place] -= tokens
    return bins


def _spread(groups: Sequence[Group], step: Sequence[int], count: int) -> list[list[int]]:
    """Longest-processing-time-first: each group goes to the pack with the fewest tokens so far."""
    packs: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(step, key=lambda index: (-groups[index].tokens, index)):
        lightest = min(range(count), key=lambda i: (loads[i], i))
        packs[lightest].append(index)
        loads[lightest] += groups[index].tokens
    return packs
