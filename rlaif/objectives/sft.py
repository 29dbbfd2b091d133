"""`objective: sft`: demonstrations, from gold answers of the round's questions or from a file."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from rlaif.data.demonstrations import Demonstration, read_demonstrations
from rlaif.data.increments import round_items
from rlaif.data.question import Question
from rlaif.data.table_questions import table_demonstrations
from rlaif.errors import UserError
from rlaif.io.column_names import ColumnNames
from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.objectives.rejection_sampling import RejectionSampling
from rlaif.recipe import BestOfN, DemonstrationFile, GoldAnswers, LoraSection, SftPhase, amounts_of
from rlaif.store.records.round_records import GatherStage
from rlaif.store.records.run_records import QuestionSet
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.sft.encode import asked
from rlaif.training.sft.round_rows import demonstrations_sha, write_demonstrations
from rlaif.training.sft.train import train_sft
from rlaif.training.worker import run_once


@dataclass(frozen=True)
class SftObjective(Objective[SftPhase]):
    """See `Objective`.

    Attributes:
        demonstrations: those of the phase's file; empty where the questions' gold answers are learned.
        name: of them in the run's record.
    """

    demonstrations: Sequence[Demonstration]
    lora: LoraSection | None
    name: str

    stages = ("gather", "train", "evaluate", "promote")
    rows = "demonstrations.parquet"

    @classmethod
    def prepare(cls, phase: SftPhase, materials: Materials) -> Objective[SftPhase]:
        """See `Objective`."""
        source, demonstrations = phase.demonstrations, list[Demonstration]()
        if isinstance(source, BestOfN):
            return RejectionSampling()
        if isinstance(source, DemonstrationFile):
            demonstrations = read_demonstrations(source.path, ColumnNames(source.columns)).rows
            if not demonstrations:
                raise UserError(f"{source.path}: no row is a demonstration; expected at least one")
        elif all(question.gold_answer is None for question in materials.train):
            raise UserError(
                f"{materials.key}.demonstrations: no train question has a gold answer; expected some, or a file"
            )
        return cls(asked(demonstrations, materials.template), materials.lora, f"{materials.key}.demonstrations")

    @property
    def sources(self) -> Mapping[str, QuestionSet]:
        """See `Objective`."""
        if not self.demonstrations:
            return {}
        return {self.name: QuestionSet(count=len(self.demonstrations), sha=demonstrations_sha(self.demonstrations))}

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_sft

    async def gather(self, phase: SftPhase, work: RoundWork) -> GatherStage:
        """See `Objective`."""
        found, left_out = self._of_round(phase, work)
        demonstrations = [demonstration for _, demonstration in found]
        write = partial(
            write_demonstrations, demonstrations, work.policy, self.lora,
            path=work.directory.path(self.rows), round_number=work.directory.number,
            questions={demonstration.id: question for question, demonstration in found if question is not None},
        )  # fmt: skip
        # In a task, since the driver loads no tokenizer.
        written = await run_once(write, gpu=False)
        left_out["too_long"] += len(written.too_long)
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count)
        work.say(f"{written.count:,} demonstrations" + (f"; left out: {reasons}" if reasons else ""))
        return GatherStage(unit="demonstrations", units=written.count, questions=len(found), left_out=dict(+left_out))

    def _of_round(
        self, phase: SftPhase, work: RoundWork
    ) -> tuple[list[tuple[Question | None, Demonstration]], Counter[str]]:
        """Return the round's demonstrations, each with its question, and how many questions have none, by reason."""
        if self.demonstrations:
            amounts = amounts_of(phase.questions, phase.rounds)[: work.number + 1]
            given = round_items(self.demonstrations, amounts, work.seed, "demonstrations")
            return [(None, each) for each in given], Counter()
        found: list[tuple[Question | None, Demonstration]] = []
        for question in work.questions:
            if (gold := question.gold_answer) is not None:
                answer = gold if isinstance(gold, str) else gold[0]
                found.append((question, Demonstration(question.id, work.render(question), answer)))
        left_out = Counter(no_gold_answer=len(work.questions) - len(found))
        if isinstance(phase.demonstrations, GoldAnswers):
            made, seed = phase.demonstrations.table_questions, f"{work.seed}-{work.directory.number}"
            found += table_demonstrations(work.questions, made, seed=seed, render=work.render)
        return found, left_out
