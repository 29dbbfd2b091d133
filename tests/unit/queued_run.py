"""A small run whose first round is judged and waits to be paired, for tests of people's part in it."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from rlaif.data.question import Question
from rlaif.feedback.people import queue_for_people
from rlaif.feedback.queue import QueueItem
from rlaif.judges.decisions import decide_by_orders, own_verdicts
from rlaif.judges.judge import Comparison, Decision, Verdict
from rlaif.recipe import PeopleSection
from rlaif.store.records.round_records import RoundRecord
from rlaif.store.rundir import RoundDir
from tests.unit.small_run import MODEL_SHA, SmallRun


class Compares:
    """The model of the small run's panel alone; it decides as the project's judges do."""

    name, sha = "finance-grounded", MODEL_SHA

    async def verdicts(
        self, question: Question, answers: Sequence[str], comparisons: Sequence[Comparison] | None = None
    ) -> list[Verdict]:
        raise AssertionError("people are asked, not the judge")

    def decide(self, prompt_id: str, count: int, verdicts: Sequence[Verdict]) -> list[Decision]:
        return decide_by_orders(own_verdicts(self, prompt_id, verdicts), ("ab", "ba"))


class QueuedRun:
    """A run with a queue for people in its first round, whose pairs are not made."""

    def __init__(self, root: Path, share: float = 0.2, random: float = 0.25, seed: int = 0) -> None:
        small = SmallRun(root, prompts=10, heldout=4, rounds=1)
        self.run, self.directory = small.run, small.run.round(0)
        self.questions = {
            row["id"]: Question(row["id"], row["question"], row["context"], row["reference"]) for row in small.train
        }
        stages = self.directory.record().stages
        self.record = RoundRecord(round=0).with_stage(stages.sample).with_stage(stages.judge)  # type: ignore[arg-type]
        self.record.write(self.directory.path("manifest.json"))
        Path(self.directory.path("pairs.parquet")).unlink()
        shutil.rmtree(self.directory.path("policy"))
        self.section = PeopleSection(share=share, random=random)
        self.items = self.queue(seed)

    def queue(self, seed: int = 0, earlier: Sequence[RoundDir] = ()) -> list[QueueItem]:
        """Write the queue, unless it is there, and return it."""
        return queue_for_people(
            self.directory, self.questions, Compares(), self.section, seed=seed, earlier=earlier
        )  # fmt: skip
