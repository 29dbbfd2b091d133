"""Groups of answers with their rewards, from rows of `rollouts.parquet`.

Invariant: an answer without a reward is in no group, so it is part of neither a baseline nor a loss; the answers and
their log-probabilities are those that were sampled, token by token.

Suffixes name axes: C candidates of a group, A tokens of all of its answers, one answer after the other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlaif.training.groups import Group

Floats = NDArray[np.float32]


def _nothing() -> Floats:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RolloutGroup(Group):
    """A prompt with its answers, what each earned, and what policies made of each of their tokens.

    Attributes:
        rewards_C: of the candidates.
        sampled_A: the engine's log-probabilities of what it sampled, in nats, before the temperature.
        old_A: those of the policy before the training, at the temperature of sampling.
        raw_A: likewise before the temperature; empty at temperature 1, where they are `old_A`.
        reference_A: those of the reference policy.
        advantages_A: what the loss weighs each token by.
        values_A, returns_A: the values before the training, and what they are taught.
            What is not known yet, or not needed, is empty.
    """

    rewards_C: Floats
    sampled_A: Floats
    old_A: Floats = field(default_factory=_nothing)
    raw_A: Floats = field(default_factory=_nothing)
    reference_A: Floats = field(default_factory=_nothing)
    advantages_A: Floats = field(default_factory=_nothing)
    values_A: Floats = field(default_factory=_nothing)
    returns_A: Floats = field(default_factory=_nothing)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each answer."""
        return [len(candidate) for candidate in self.candidates]

    @property
    def mismatch_A(self) -> Floats:
        """By how much the policy before the training differs from the engine's that sampled, in nats, both before the
        temperature: engines know no other log-probabilities."""
        before_A = self.raw_A if len(self.raw_A) else self.old_A
        return before_A - self.sampled_A

    def by_answer(self, values_A: Floats) -> list[Floats]:
        """Return values of tokens for each answer."""
        return np.split(values_A, np.cumsum(self.lengths)[:-1])

    def of_answers(self, values_C: Floats) -> Floats:
        """Return for each token the value of its answer."""
        return np.repeat(values_C, self.lengths)


@dataclass(frozen=True, slots=True)
class Rollouts:
    """The answers of a training.

    Attributes:
        unscored: answers without a reward, by the judge or because they were cut.
        alike: groups left out because all of their answers earned the same.
        reward: mean over all answers with one, also over those of groups left out.
    """

    groups: list[RolloutGroup]
    unscored: int
    alike: int
    reward: float


def read_rollouts(
    rows: Iterable[Mapping[str, Any]], truncated: Literal["mask", "zero", "keep"], *, compared: bool
) -> Rollouts:
    """Gather rows of `rollouts.parquet` into groups of one prompt and one policy, in order of first appearance.

    Args:
        truncated: what a cut answer earns; see `PolicyGradientSection.truncated`.
        compared: whether an answer is compared with the others of its group, so that a group whose answers earned the
            same teaches nothing.
    """
    answers: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    unscored = 0
    rewards: list[float] = []
    for row in rows:
        reward = _reward(row, truncated)
        if reward is None or not row["token_ids"]:
            unscored += 1
            continue
        rewards.append(reward)
        answers.setdefault((row["prompt_id"], row["policy"] or ""), []).append({**row, "reward": reward})
    groups = [_group(found, policy) for (_, policy), found in answers.items()]
    kept = [group for group in groups if not compared or np.ptp(group.rewards_C) > 0]
    return Rollouts(kept, unscored, len(groups) - len(kept), float(np.mean(rewards)) if rewards else 0.0)


def _reward(row: Mapping[str, Any], truncated: str) -> float | None:
    if row["truncated"] and truncated != "keep":
        return 0.0 if truncated == "zero" else None
    reward: float | None = row["reward"]
    return reward


def _group(rows: list[Mapping[str, Any]], policy: str) -> RolloutGroup:
    return RolloutGroup(
        prompt_token_ids=tuple(rows[0]["prompt_token_ids"]),
        candidates=tuple(tuple(row["token_ids"]) for row in rows),
        pairs=(),
        policy=policy,
        ids=tuple(row["rollout_id"] for row in rows),
        rewards_C=np.array([row["reward"] for row in rows], np.float32),
        sampled_A=np.concatenate([np.array(row["logprobs"], np.float32) for row in rows]),
    )
