"""The reward models that a run has trained, beside the policies whose answers they reward."""

from collections.abc import Sequence
from typing import NamedTuple

from rlaif.reporting.summary import RunSummary
from rlaif.stats.bootstrap import Estimate
from rlaif.store.records.reward_record import RewardRecord
from rlaif.store.rundir import RoundDir


class RewardRow(NamedTuple):
    """A reward model, and the policy that its round samples from.

    Attributes:
        policy: its number.
        measured: the policy's held-out score, or its win rate against the initial policy.
        rose_as_score_fell: whether the reward rose since the reward model before, and the policy's figure fell.
    """

    record: RewardRecord
    policy: int
    measured: Estimate | None
    rose_as_score_fell: bool


def reward_rows(directories: Sequence[RoundDir], summary: RunSummary) -> list[RewardRow]:
    """Return a row for each reward model of a run, in order."""
    rows: list[RewardRow] = []
    for directory in directories:
        record = RewardRecord.read(directory.path("reward.json"))
        if record is None:
            continue
        promoted = [policy for policy in summary.policies[1 : record.round + 1] if policy.promoted and policy.id]
        policy = promoted[-1] if promoted else summary.initial
        measured = policy.metrics.get(summary.metric)
        before = rows[-1] if rows else None
        over = before is not None and _rose(before.record.gain, record.gain) and _fell(before, measured)
        rows.append(RewardRow(record, policy.number, measured, over))
    return rows


def _fell(before: RewardRow, measured: Estimate | None) -> bool:
    values = [found.value if found else None for found in (before.measured, measured)]
    return values[0] is not None and values[1] is not None and values[1] < values[0]


def _rose(before: Estimate | None, after: Estimate | None) -> bool:
    """Whether a figure rose; the initial policy's gain over itself is 0."""
    if after is None or after.value is None:
        return False
    return after.value > (0.0 if before is None or before.value is None else before.value)
