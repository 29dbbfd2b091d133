"""Groups of rated answers, and their plan: which answers are in which step, and after which other prompt each is read.

Invariant: a group has all rated answers to one prompt, and they are in one step of each epoch. The reference point of a
step is estimated from all of its answers, each after the prompt of another group of the step: TRL's mismatched pairs,
(x_1, y_n), (x_2, y_1), ..., where each prompt has one answer. A step of one group takes the prompt of another step. So
the estimate depends neither on packing nor on the number of workers.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from rlaif.errors import WorkError
from rlaif.recipe import KtoSection
from rlaif.training.groups import Group, PackPlan, plan_packs, plan_steps

ONE_PROMPT = (
    "all ratings are of answers to one prompt; KTO also reads each answer after another prompt, so it expects answers "
    "to at least two"
)


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with the summed log-probability of each of its candidates under the reference policy, in nats."""

    group: Group
    ref_logps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class RatedGroup(Group):
    """A prompt with its rated answers, each a candidate; `ids` are those of the ratings.

    Attributes:
        desirable: of each candidate.
        weights: of each candidate's loss, relative to the mean weight of the training.
        ref_logps: log-probability of each candidate under the reference policy, in nats; () until it is computed.
        mismatched: the candidates after another prompt, without those that the model's context has no room for; None
            until the steps are known, and where there is room for none.
    """

    desirable: tuple[bool, ...] = ()
    weights: tuple[float, ...] = ()
    ref_logps: tuple[float, ...] = ()
    mismatched: ScoredGroup | None = None


def group_ratings(rows: Iterable[Mapping[str, Any]], human_weight: float = 1.0) -> list[RatedGroup]:
    """Gather rows of `ratings.parquet` into groups of equal prompt tokens, in order of first appearance.

    Of answers that are equal in their tokens the first rating counts.

    Args:
        rows: with `rating_id`, `prompt_token_ids`, `token_ids`, `desirable` and `source`.
    """
    prompts: dict[tuple[int, ...], dict[tuple[int, ...], Mapping[str, Any]]] = {}
    for row in rows:
        answers = prompts.setdefault(tuple(row["prompt_token_ids"]), {})
        answers.setdefault(tuple(row["token_ids"]), row)
    return [
        RatedGroup(
            prompt_token_ids=prompt,
            candidates=tuple(answers),
            pairs=(),
            ids=tuple(row["rating_id"] for row in answers.values()),
            desirable=tuple(row["desirable"] for row in answers.values()),
            weights=tuple(human_weight if row["source"] == "human" else 1.0 for row in answers.values()),
        )
        for prompt, answers in prompts.items()
    ]


def plan_ratings(
    groups: Sequence[RatedGroup], settings: KtoSection, *, context: int | None, workers: int, seed: int
) -> tuple[list[RatedGroup], PackPlan]:
    """Return the groups of each step, with their answers after other prompts, and the plan of these.

    A group occurs once for each epoch.

    Args:
        context: the policy's longest sequence, in tokens; None is unlimited.

    Raises:
        WorkError: all answers are to one prompt.
    """
    if len(groups) < 2:
        raise WorkError(ONE_PROMPT)
    sizes = [len(group.candidates) for group in groups]
    steps = plan_steps(sizes, epochs=settings.epochs, per_step=settings.ratings_per_step, seed=seed)
    order = list(chain.from_iterable(steps))
    found: list[RatedGroup] = []
    occurrences: list[list[int]] = []
    for step in steps:
        after = step[1:] + step[:1] if len(step) > 1 else [next(index for index in order if index != step[0])]
        occurrences.append(list(range(len(found), len(found) + len(step))))
        found += [_after(groups[own], groups[other], context) for own, other in zip(step, after, strict=True)]
    weights = [weight for group in groups for weight in group.weights]
    mean = math.fsum(weights) / len(weights)
    step_weights = [mean * sum(len(found[index].candidates) for index in step) for step in occurrences]
    plan = plan_packs(found, occurrences, step_weights, max_tokens=settings.max_tokens_per_pack, workers=workers)
    return found, plan


def _after(group: RatedGroup, other: RatedGroup, context: int | None) -> RatedGroup:
    """Return a group whose answers are also read after another group's prompt."""
    prompt = other.prompt_token_ids
    fitting = tuple(each for each in group.candidates if context is None or len(prompt) + len(each) <= context)
    mismatched = ScoredGroup(Group(prompt, fitting, pairs=(), packed=group.packed), ()) if fitting else None
    return replace(group, mismatched=mismatched)


def read_groups(groups: Sequence[RatedGroup]) -> list[Group]:
    """Return each prompt with its answers that groups read, their own and another, once."""
    every: list[Group] = [*groups, *(group.mismatched.group for group in groups if group.mismatched)]
    return list({(group.prompt_token_ids, group.candidates): group for group in every}.values())


def with_references(
    groups: Sequence[RatedGroup], read: Sequence[Group], logps: Sequence[Sequence[float]]
) -> list[RatedGroup]:
    """Return groups with their candidates' log-probabilities under the reference policy, after both prompts.

    Args:
        read: of `read_groups`.
        logps: of the candidates of each.
    """
    scores = {
        (group.prompt_token_ids, group.candidates): tuple(of_group) for group, of_group in zip(read, logps, strict=True)
    }
    found = []
    for group in groups:
        other = group.mismatched
        if other is not None:
            other = ScoredGroup(other.group, scores[other.group.prompt_token_ids, other.group.candidates])
        found.append(replace(group, ref_logps=scores[group.prompt_token_ids, group.candidates], mismatched=other))
    return found
