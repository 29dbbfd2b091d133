"""Plans which groups go into which forward pass of which worker.

Invariant: in every epoch each group is in exactly one pack, and every optimizer step has the same number of packs for
each worker, so that no worker waits for a gradient exchange in vain. Workers get equal tokens as far as whole groups
allow. Each pack knows the weight of its whole step: a step's loss is the weighted mean over its pairs, however they
were spread.
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
        groups: indices of groups; empty where a worker has nothing to do.
        step_weight: summed weight of the pairs of the whole optimizer step, over all packs and workers.
    """

    groups: tuple[int, ...]
    step_weight: float


@dataclass(frozen=True, slots=True)
class PackPlan:
    """All packs of a training, in the order that `Trainer` reads them: by step, then pass, then worker.

    Attributes:
        packs: `steps * accumulation * workers` of them.
        steps: optimizer steps.
        accumulation: forward passes of each worker in a step (gradient accumulation).
        workers: data-parallel workers.
    """

    packs: tuple[Pack, ...]
    steps: int
    accumulation: int
    workers: int


def plan_training(
    groups: Sequence[Group], *, epochs: int, groups_per_step: int, max_tokens: int, workers: int, seed: int
) -> PackPlan:
    """Plan a training.

    Args:
        groups: to train on.
        epochs: passes over the groups, each in a new seeded order.
        groups_per_step: groups of one optimizer step over all workers; the last step of an epoch may have fewer.
        max_tokens: token budget of a pack; a larger group gets a pack of its own.
        workers: data-parallel workers.
        seed: of the orders.
    """
    order = random.Random(f"training-order-{seed}")
    steps: list[list[int]] = []
    for _ in range(epochs):
        indices = list(range(len(groups)))
        order.shuffle(indices)
        steps += [indices[start : start + groups_per_step] for start in range(0, len(indices), groups_per_step)]
    needed = max((_packs_needed(groups, step, max_tokens) for step in steps), default=1)
    accumulation = math.ceil(needed / workers)
    packs: list[Pack] = []
    for step in steps:
        weight = sum(pair.weight for index in step for pair in groups[index].pairs)
        packs += [Pack(tuple(bin_), weight) for bin_ in _spread(groups, step, accumulation * workers)]
    return PackPlan(tuple(packs), len(steps), accumulation, workers)


def pack_in_order(groups: Sequence[Group], max_tokens: int) -> list[list[int]]:
    """Return runs of neighbouring groups that fit the token budget; a larger group is a run of its own."""
    runs: list[list[int]] = []
    room = 0
    for index, group in enumerate(groups):
        if not runs or group.tokens > room:
            runs.append([])
            room = max_tokens
        runs[-1].append(index)
        room -= group.tokens
    return runs


def _packs_needed(groups: Sequence[Group], step: Sequence[int], max_tokens: int) -> int:
    """Count the packs of a step, filled first-fit-decreasing."""
    room: list[int] = []
    for tokens in sorted((groups[index].tokens for index in step), reverse=True):
        fitting = next((pack for pack, free in enumerate(room) if tokens <= free), None)
        if fitting is None:
            room.append(max_tokens - tokens)
        else:
            room[fitting] -= tokens
    return len(room)


def _spread(groups: Sequence[Group], step: Sequence[int], count: int) -> list[list[int]]:
    """Longest-processing-time-first: each group goes to the pack with the fewest tokens so far."""
    packs: list[list[int]] = [[] for _ in range(count)]
    loads = [0] * count
    for index in sorted(step, key=lambda index: (-groups[index].tokens, index)):
        lightest = min(range(count), key=lambda i: (loads[i], i))
        packs[lightest].append(index)
        loads[lightest] += groups[index].tokens
    return packs
