"""`reward.json` of a round: the reward model that was trained before its candidates were judged."""

from typing import Literal

from pydantic import Field

from rlaif.store.records.file_training_record import HeldOutPairs, TrainedPairs
from rlaif.store.records.record import Record
from rlaif.store.records.round_records import BaseModelRecord, Mean


class RewardRecord(Record):
    """A reward model of a run."""

    layout: Literal[1] = 1
    round: int
    id: str
    """sha256 of its weights."""
    base: BaseModelRecord
    """The model of the judge file, from which each of the run's reward models is trained."""
    parent: str | None
    """sha256 of the weights of the reward model before it; None for the first."""
    judge_sha: str
    """sha256 of the judge with these weights, as the round's verdicts have it."""
    files: dict[str, str]
    """sha256 of each file in `reward/`."""
    train: TrainedPairs
    heldout: HeldOutPairs | None
    """On questions that no reward model of the run has learned from; None without pairs on any."""
    accuracy: Mean | None = None
    """Share of the held-out pairs on which it prefers the preferred answer, with its interval over questions."""
    gain: Mean | None = None
    """Its mean reward of the current policy's held-out answers above that of the initial policy's, question by
    question. A gain that rises while the policy's score falls is over-optimization (Gao et al. 2022,
    arXiv:2210.10760)."""
    steps: int
    seconds: float
    log: list[dict[str, float]] = Field(default_factory=list)
    """One entry a step."""
