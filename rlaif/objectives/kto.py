"""`objective: kto`: the round's candidates that are good or bad by their stored verdicts, and ratings of people."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rlaif.data.increments import round_size
from rlaif.data.ratings import Rating, read_ratings
from rlaif.data.round_shares import round_share
from rlaif.io.column_names import ColumnNames
from rlaif.objectives.objective import Materials, Objective, RoundWork
from rlaif.preferences.round_ratings import identified, rating_rows
from rlaif.preferences.round_rows import write_rows
from rlaif.recipe import KtoPhase, LoraSection, amounts_of
from rlaif.store.records.round_records import GatherStage
from rlaif.store.records.run_records import QuestionSet
from rlaif.store.schemas import RATINGS
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker
from rlaif.training.kto.groups import ONE_PROMPT
from rlaif.training.kto.round_rows import human_rating_rows, ratings_sha
from rlaif.training.kto.train import train_kto
from rlaif.training.sft.encode import asked
from rlaif.training.worker import run_once


@dataclass(frozen=True)
class KtoObjective(Objective[KtoPhase]):
    """See `Objective`.

    Attributes:
        human: ratings of the phase's file.
        name: of them in the run's record.
    """

    human: Sequence[Rating]
    lora: LoraSection | None
    name: str

    stages = ("sample", "judge", "gather", "train", "evaluate", "promote")
    rows = "ratings.parquet"

    @classmethod
    def prepare(cls, phase: KtoPhase, materials: Materials) -> "KtoObjective":
        """See `Objective`."""
        name, human = f"{materials.key}.human_ratings", list[Rating]()
        if (file := phase.human_ratings) is not None:
            human = read_ratings(file.path, ColumnNames(file.columns, f"{name}.columns"), file).rows
        return cls(asked(human, materials.template), materials.lora, name)

    @property
    def sources(self) -> Mapping[str, QuestionSet]:
        """See `Objective`."""
        return {self.name: QuestionSet(count=len(self.human), sha=ratings_sha(self.human))} if self.human else {}

    @property
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """See `Objective`."""
        return train_kto

    async def gather(self, phase: KtoPhase, work: RoundWork) -> GatherStage:
        """See `Objective`."""
        left_out = Counter[str]()
        human = list[dict[str, Any]]()
        if self.human:
            own = self._of_round(phase, work)
            encode = partial(human_rating_rows, own, work.policy, self.lora, round_number=work.directory.number)
            # In a task, since the driver loads no tokenizer.
            encoded = await run_once(encode, gpu=False)
            human, left_out["too_long"] = encoded.rows, len(encoded.too_long)
        known = {identified(row) for row in human}
        judged = rating_rows(
            work.directory, work.train, work.judge, phase.ratings, render=work.render, left_out=left_out, known=known
        )
        written = _Written()
        write_rows(
            work.directory, self.rows, RATINGS, written.counted(judged), then_by="candidate",
            first=list(written.counted(human)),
        )  # fmt: skip
        desirable, undesirable, prompts = written.by_label[True], written.by_label[False], len(written.prompts)
        reasons = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in left_out.items() if count)
        work.say(
            f"{desirable:,} good and {undesirable:,} bad answers to {prompts:,} prompts"
            + (f"; left out: {reasons}" if reasons else "")
        )
        units = desirable + undesirable
        if prompts == 1:
            work.say(ONE_PROMPT)
            left_out["to_one_prompt"], units = units, 0
        figures = {"desirable": float(desirable), "undesirable": float(undesirable)}
        return GatherStage(unit="ratings", units=units, questions=prompts, left_out=dict(+left_out), figures=figures)

    def _of_round(self, phase: KtoPhase, work: RoundWork) -> list[Rating]:
        """Return the people's ratings that the round takes: the share of them that it takes of the questions."""
        every = len(work.train)
        shares = [round_size(each, every) / every for each in amounts_of(phase.questions, phase.rounds)]
        sizes = [max(1, round(share * len(self.human))) for share in shares[: work.number + 1]]
        return round_share(self.human, sizes, f"ratings-{work.seed}")


@dataclass(slots=True)
class _Written:
    """How many ratings there are of each label, and of answers to which prompts, by a digest of their tokens."""

    by_label: Counter[bool] = field(default_factory=Counter)
    prompts: set[bytes] = field(default_factory=set)

    def counted(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield rows of ratings, and count them."""
        for row in rows:
            self.by_label[row["desirable"]] += 1
            self.prompts.add(hashlib.blake2b(array("q", row["prompt_token_ids"]).tobytes(), digest_size=16).digest())
            yield row
