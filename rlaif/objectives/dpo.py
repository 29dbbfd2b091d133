"""`objective: dpo`: preferences between the round's candidates, decided by their stored verdicts."""

from collections.abc import Callable
from typing import Any

from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.round_pairs import write_pairs
from rlaif.recipe import DpoPhase
from rlaif.store.records.round_records import PairsStage
from rlaif.training.dpo.train import train_dpo
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker


class DpoObjective(Objective[DpoPhase]):
    """See `Objective`."""

    stages = ("sample", "judge", "pairs", "train", "evaluate", "promote")
    rows = "pairs.parquet"

    @classmethod
    def prepare(cls, phase: DpoPhase, materials: Materials) -> "DpoObjective":
        """See `Objective`; there is nothing to load."""
        return cls()

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_dpo

    async def gather(self, phase: DpoPhase, work: RoundWork) -> PairsStage:
        """See `Objective`."""
        counts = write_pairs(work.directory, work.train, work.judge, phase.pairs, render=work.render)
        work.say(f"{counts.pairs} pairs on {counts.prompts} prompts ({counts.statuses or 'no verdicts'})")
        if counts.advice:
            work.say(counts.advice)
        return PairsStage(
            questions=counts.prompts,
            pairs=counts.pairs,
            below_margin=counts.below_margin,
            truncated=counts.truncated,
            by_status=counts.by_status,
            by_judge=counts.by_judge,
        )
