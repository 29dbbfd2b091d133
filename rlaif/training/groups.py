"""Groups: a prompt with its candidates and the preferences among them; and their plan: which go into which pass.

Invariant: the token ids are those that were sampled; nothing here decodes or encodes text. Every row of `pairs.parquet`
is one pair of exactly one group. In every epoch each group is in exactly one pack, and every optimizer step has the
same number of packs for each worker, so that no worker waits for a gradient exchange in vain. Workers get equal tokens
as far as whole groups allow. Each pack knows its whole step: a step's loss is the mean of its pairs' losses, each times
its weight over the mean weight of all pairs, however they were spread. So a pair that weighs little counts little, also
where it is alone in its step.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Span = tuple[int, int]
"""The indices [start, end) of tokens."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One preference between two candidates of a group, by index.

    Attributes:
        ref_chosen_logp, ref_rejected_logp: summed log-probability of each under the reference policy, in nats; NaN
            until it is computed.
        weight: of its loss, relative to the mean weight of all pairs of the training.
    """

    id: str
    chosen: int
    rejected: int
    ref_chosen_logp: float
    ref_rejected_logp: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Group:
    """A prompt, its distinct candidates, and the preferences among them, all as sampled token ids.

    Attributes:
        policy: id of the policy that sampled the candidates, "" if unknown.
        learned: spans [start, end) of each candidate's tokens that count, the last one up to its end; () is all of all
            candidates' tokens. The others are read, as those of a prompt are.
        ids: of the candidates, for messages; () without.
        packed: whether the model reads the prompt once for all candidates, or once for each.
    """

    prompt_token_ids: tuple[int, ...]
    candidates: tuple[tuple[int, ...], ...]
    pairs: tuple[Pair, ...]
    policy: str = ""
    packed: bool = True
    learned: tuple[tuple[Span, ...], ...] = ()
    ids: tuple[str, ...] = ()

    def counted(self, candidate: int) -> Iterator[int]:
        """Yield the indices of a candidate's tokens that count."""
        spans = self.learned[candidate] if self.learned else ((0, len(self.candidates[candidate])),)
        for start, end in spans:
            yield from range(start, end)

    @property
    def counted_tokens(self) -> int:
        """How many tokens of all candidates count."""
        return sum(len(list(self.counted(index))) for index in range(len(self.candidates)))

    @property
    def tokens(self) -> int:
        """Tokens that the model reads: the prompt, and each candidate without its last token."""
        prompts = 1 if self.packed else len(self.candidates)
        return prompts * len(self.prompt_token_ids) + sum(max(len(candidate) - 1, 0) for candidate in self.candidates)

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest candidate."""
        return len(self.prompt_token_ids) + max(map(len, self.candidates), default=0)


def group_pairs(
    rows: Iterable[Mapping[str, Any]], weight: Callable[[Mapping[str, Any]], float] | None = None
) -> list[Group]:
    """Gather rows of `pairs.parquet` into groups of equal prompt tokens and one policy, in order of first appearance.

    Args:
        rows: with `pair_id`, the three `..._token_ids`, the two `ref_..._logp` and `policy`, which may be null.
        weight: returns a row's weight; None weighs all rows equally.
    """
    prompts: dict[tuple[tuple[int, ...], str], tuple[dict[tuple[int, ...], int], list[Pair]]] = {}
    for row in rows:
        key = (tuple(row["prompt_token_ids"]), row.get("policy") or "")
        candidates, pairs = prompts.setdefault(key, ({}, []))
        chosen = candidates.setdefault(tuple(row["chosen_token_ids"]), len(candidates))
        rejected = candidates.setdefault(tuple(row["rejected_token_ids"]), len(candidates))
        of_chosen, of_rejected = (
            math.nan if row[name] is None else row[name] for name in ("ref_chosen_logp", "ref_rejected_logp")
        )
        pairs.append(Pair(row["pair_id"], chosen, rejected, of_chosen, of_rejected, weight(row) if weight else 1.0))
    return [
        Group(prompt, tuple(candidates), tuple(pairs), policy)
        for (prompt, policy), (candidates, pairs) in prompts.items()
    ]


def with_reference(group: Group, logps: Sequence[float]) -> Group:
    """Return the group with its candidates' log-probabilities, in nats, as the references of its pairs."""
    pairs = tuple(
        replace(pair, ref_chosen_logp=logps[pair.chosen], ref_rejected_logp=logps[pair.rejected])
        for pair in group.pairs
    )
    return replace(group, pairs=pairs)


@dataclass(frozen=True, slots=True)
class Pack:
    """Groups of one forward pass.

    Attributes:
        groups: indices of groups; empty where a worker has nothing to do.
        step_weight: what the objective divides its sums by, of the whole optimizer step, over all packs and workers. Of
            pairs it is their number times the mean weight of all pairs of the training.
    """

    groups: tuple[int, ...]
    step_weight: float


@dataclass(frozen=True, slots=True)
class PackPlan:
    """All packs of a training, in the order that `Trainer` reads them: by step, then pass, then worker.

    Attributes:
        packs: `steps * accumulation * workers` of them.
        accumulation: forward passes of each worker in a step (gradient accumulation).
    """

    packs: tuple[Pack, ...]
    steps: int
    accumulation: int
    workers: int


def plan_training(
    groups: Sequence[Group], *, epochs: int, groups_per_step: int, max_tokens: int, workers: int, seed: int
) -> PackPlan:
    """Plan a training on pairs; see `plan_packs`.

    Args:
        groups_per_step: over all workers; the last step of an epoch may have fewer.
    """
    weights = [pair.weight for group in groups for pair in group.pairs]
    mean = math.fsum(weights) / max(1, len(weights))
    steps = plan_steps([1] * len(groups), epochs=epochs, per_step=groups_per_step, seed=seed)
    step_weights = [mean * sum(len(groups[index].pairs) for index in step) for step in steps]
    return plan_packs(groups, steps, step_weights, max_tokens=max_tokens, workers=workers)


def plan_steps(sizes: Sequence[int], *, epochs: int, per_step: int, seed: int) -> list[list[int]]:
    """Return the groups of each optimizer step, with each epoch in a new seeded order.

    Args:
        sizes: of the groups.
        per_step: size of a step over all workers; its last group may exceed it, and an epoch's last step fall short.
    """
    order = random.Random(f"training-order-{seed}")
    steps: list[list[int]] = []
    for _ in range(epochs):
        indices = list(range(len(sizes)))
        order.shuffle(indices)
        room = 0
        for index in indices:
            if room <= 0:
                steps.append([])
                room = per_step
            steps[-1].append(index)
            room -= sizes[index]
    return steps


def plan_packs(
    groups: Sequence[Group], steps: Sequence[Sequence[int]], weights: Sequence[float], *, max_tokens: int, workers: int
) -> PackPlan:
    """Return the packs of steps whose groups are known.

    Args:
        steps: indices of groups.
        weights: `Pack.step_weight` of each step.
        max_tokens: token budget of a pack; a larger group gets a pack of its own.
    """
    needed = max((_packs_needed(groups, step, max_tokens) for step in steps), default=1)
    accumulation = math.ceil(needed / workers)
    packs: list[Pack] = []
    for step, weight in zip(steps, weights, strict=True):
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
