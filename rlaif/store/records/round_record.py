"""`manifest.json`: the stages of a round that are done, each with its counts."""

from typing import Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from rlaif.store.events import now
from rlaif.store.records.record import Record, RecordPart

Stage = Literal["sample", "judge", "pairs", "train", "evaluate", "promote"]
STAGES: tuple[Stage, ...] = ("sample", "judge", "pairs", "train", "evaluate", "promote")


class StageRecord(RecordPart):
    """A stage that is done."""

    stage: ClassVar[Stage]
    done: str = Field(default_factory=now)
    """ISO 8601 in UTC."""


class SampleStage(StageRecord):
    """The round's questions are sampled."""

    stage = "sample"
    policy: str
    """Id of the policy that sampled."""
    questions: int
    failed: int
    """Questions without candidates."""
    candidates: int


class JudgeStage(StageRecord):
    """The round's candidates are judged."""

    stage = "judge"
    verdicts: int


class PairsStage(StageRecord):
    """The round's preference pairs are made."""

    stage = "pairs"
    questions: int
    """Questions with at least one pair."""
    pairs: int
    below_margin: int
    """Decided comparisons that `pairs.min_margin` left out."""
    by_status: dict[str, int]
    """Comparisons by the status of their decision."""
    by_judge: dict[str, int]
    """Pairs by the judge that decided."""


class TrainStage(StageRecord):
    """The round's policy is trained, or the round has nothing to train on."""

    stage = "train"
    steps: int
    pairs: int = 0
    seconds: float = 0.0
    reason: str | None = None
    """Why nothing was trained."""


class EvaluateStage(StageRecord):
    """The round's policy is evaluated."""

    stage = "evaluate"
    questions: int


class PromoteStage(StageRecord):
    """The round is over."""

    stage = "promote"
    promoted: bool
    reason: str | None = None
    """Why there was no policy to promote."""


class DoneStages(RecordPart):
    """The stages of a round; those that are not done are None, and left out of the file."""

    sample: SampleStage | None = None
    judge: JudgeStage | None = None
    pairs: PairsStage | None = None
    train: TrainStage | None = None
    evaluate: EvaluateStage | None = None
    promote: PromoteStage | None = None

    @model_serializer(mode="wrap")
    def _only_done(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: stage for name, stage in handler(self).items() if stage is not None}


class RoundRecord(Record):
    """How far a round has come."""

    layout: Literal[2] = 2
    round: int
    stages: DoneStages = DoneStages()

    @property
    def done(self) -> tuple[Stage, ...]:
        """The stages that are done."""
        return tuple(stage for stage in STAGES if getattr(self.stages, stage) is not None)

    @property
    def left(self) -> tuple[Stage, ...]:
        """The stages that are not done. A round without pairs skips some, so `promote` alone ends a round."""
        done = self.done
        return () if "promote" in done else tuple(stage for stage in STAGES if stage not in done)

    @property
    def promoted(self) -> bool | None:
        """Whether the round's policy became the current one; None while undecided."""
        return None if self.stages.promote is None else self.stages.promote.promoted

    def with_stage(self, record: StageRecord) -> "RoundRecord":
        """Return the record with one more stage done."""
        return self.model_copy(update={"stages": self.stages.model_copy(update={record.stage: record})})
