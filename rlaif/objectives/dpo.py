"""`objective: dpo`: preferences between the round's candidates, decided by their stored verdicts and by people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlaif.data.increments import round_size
from rlaif.data.preferences import Preference
from rlaif.feedback.outcomes import PeopleDecisions
from rlaif.feedback.people import ask_people, queue_for_people
from rlaif.feedback.preferences import load_human_preferences, preference_rows, preferences_sha, round_preferences
from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.round_pairs import write_pairs
from rlaif.recipe import DpoPhase, LoraSection, PeopleSection, amounts_of
from rlaif.store.records.round_records import PairsStage
from rlaif.store.records.run_records import QuestionSet
from rlaif.training.dpo.train import train_dpo
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.worker import run_once


@dataclass(frozen=True)
class DpoObjective(Objective[DpoPhase]):
    """See `Objective`.

    Attributes:
        preferences: people's own, of all rounds of the phase.
        name: of them in the run's record.
    """

    preferences: Sequence[Preference]
    people: PeopleSection | None
    lora: LoraSection | None
    name: str

    stages = ("sample", "judge", "pairs", "train", "evaluate", "promote")
    rows = "pairs.parquet"

    @classmethod
    def prepare(cls, phase: DpoPhase, materials: Materials) -> "DpoObjective":
        """See `Objective`."""
        read = load_human_preferences(materials.feedback.preferences, materials.policy)
        name = f"{materials.key}.feedback.preferences"
        return cls(read.rows if read else (), materials.feedback.people, materials.lora, name)

    @property
    def sources(self) -> dict[str, QuestionSet]:
        """See `Objective`."""
        if not self.preferences:
            return {}
        return {self.name: QuestionSet(count=len(self.preferences), sha=preferences_sha(self.preferences))}

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_dpo

    async def gather(self, phase: DpoPhase, work: RoundWork) -> PairsStage:
        """See `Objective`."""
        people = await self._of_people(self.people, work) if self.people else {}
        counts = write_pairs(
            work.directory, work.train, work.judge, phase.pairs,
            render=work.render, people=people, preferences=await self._own_pairs(phase, work),
        )  # fmt: skip
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
            by_people=counts.by_people,
            preferences=counts.preferences,
        )

    async def _of_people(self, section: PeopleSection, work: RoundWork) -> PeopleDecisions:
        """Queue the round's comparisons for people, wait for them, and return what they decided."""
        earlier = [entry for entry in work.run.rounds() if entry.number < work.directory.number]
        queue_for_people(work.directory, work.train, work.judge, section, seed=work.seed, earlier=earlier)
        if section.wait:
            await work.idle()
        return await ask_people(
            work.directory, section, run=work.run.root, seed=work.seed, progress=work.progress
        )  # fmt: skip

    async def _own_pairs(self, phase: DpoPhase, work: RoundWork) -> list[dict[str, Any]]:
        """Return the rows of the preferences that people bring to the round."""
        if not self.preferences:
            return []
        amounts = amounts_of(phase.questions, phase.rounds)[: work.number + 1]
        shares = [round_size(amount, len(work.train)) / len(work.train) for amount in amounts]
        # In a task, since the driver loads no tokenizer.
        rows, too_long = await run_once(
            partial(
                preference_rows, round_preferences(self.preferences, shares, work.seed), work.policy, self.lora,
                round_number=work.directory.number,
            ),
            gpu=False,
        )  # fmt: skip
        if too_long:
            work.say(f"{len(too_long)} preferences left out, longer than policy.max_length, such as {too_long[0]}")
        return rows
