"""The JSON files of a round: `manifest.json`, `policy.json`, `evaluation.json` and `gold_set.json`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    computed_field,
    model_serializer,
)

from rlaif.stats.bootstrap import Estimate, interval_json
from rlaif.store.events import now
from rlaif.store.policy_weights import Probe
from rlaif.store.records.record import Record, RecordPart

Stage = Literal["sample", "judge", "pairs", "gather", "train", "evaluate", "promote"]
STAGES: tuple[Stage, ...] = ("sample", "judge", "pairs", "gather", "train", "evaluate", "promote")
_OF_DPO: tuple[Stage, ...] = ("sample", "judge", "pairs", "train", "evaluate", "promote")


class StageRecord(RecordPart):
    """A stage that is done."""

    stage: ClassVar[Stage]
    done: str = Field(default_factory=now)


class SampleStage(StageRecord):
    stage = "sample"
    policy: str
    """Id of the policy that sampled."""
    questions: int
    failed: int
    """Questions without candidates."""
    candidates: int


class JudgeStage(StageRecord):
    stage = "judge"
    verdicts: int


class PairsStage(StageRecord):
    stage = "pairs"
    questions: int
    """Questions with at least one pair."""
    pairs: int
    below_margin: int
    """Decided comparisons that `pairs.min_margin` left out."""
    truncated: int = 0
    """Decided comparisons, none below the margin, that `pairs.truncated` left out."""
    by_status: dict[str, int]
    """Comparisons by the status of their decision; `silent` where the judge could not tell."""
    by_judge: dict[str, int]
    """Pairs by the judge that decided, or `people`."""
    by_people: dict[str, int] = Field(default_factory=dict)
    """Comparisons that people decided, by the outcome."""
    preferences: int = 0
    """Pairs of `feedback.preferences`, which are counted in `pairs` too."""

    @property
    def units(self) -> int:
        """What the round can learn from: its pairs."""
        return self.pairs

    @property
    def unit(self) -> str:
        """What they are, in the plural."""
        return "pairs"


class GatherStage(StageRecord):
    """What a round of another objective than `dpo` learns from."""

    stage = "gather"
    unit: str
    """What it is, in the plural, such as `demonstrations`."""
    units: int
    questions: int
    """Questions or, of a file, rows that they came from."""
    left_out: dict[str, int] = Field(default_factory=dict)
    """Those that are not learned from, by reason."""
    figures: dict[str, float] = Field(default_factory=dict)
    """The objective's own, by name."""


def error_share(by_status: Mapping[str, int]) -> float:
    """Return the share of comparisons on which a request of the judge failed."""
    return by_status.get("error", 0) / max(sum(by_status.values()), 1)


class TrainStage(StageRecord):
    stage = "train"
    steps: int
    pairs: int = 0
    """Pairs; 0 where the round learned from something else."""
    units: int = 0
    """What the round learned from, as its record before this one names it; 0 in rounds of before it was kept."""
    seconds: float = 0.0
    reason: str | None = None
    """Why nothing was trained."""


class EvaluateStage(StageRecord):
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
    gather: GatherStage | None = None
    train: TrainStage | None = None
    evaluate: EvaluateStage | None = None
    promote: PromoteStage | None = None

    @model_serializer(mode="wrap")
    def _only_done(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: stage for name, stage in handler(self).items() if stage is not None}


class RoundRecord(Record):
    """`manifest.json`: the stages that are done, each with its counts."""

    layout: Literal[2] = 2
    round: int
    phase: str | None = None
    """Title of the phase that the round belongs to; None where the recipe has no phases."""
    objective: str = "dpo"
    expected: tuple[Stage, ...] = _OF_DPO
    """The stages that the round consists of."""
    stages: DoneStages = DoneStages()

    @property
    def done(self) -> tuple[Stage, ...]:
        return tuple(stage for stage in STAGES if getattr(self.stages, stage) is not None)

    @property
    def left(self) -> tuple[Stage, ...]:
        """The stages that are not done. A round that learns nothing skips some, so `promote` alone ends a round."""
        return () if "promote" in self.done else tuple(stage for stage in self.expected if stage not in self.done)

    @property
    def gathered(self) -> PairsStage | GatherStage | None:
        """What the round learns from; None before it is gathered."""
        return self.stages.pairs or self.stages.gather

    @property
    def promoted(self) -> bool | None:
        """Whether the round's policy became the current one; None while undecided."""
        return None if self.stages.promote is None else self.stages.promote.promoted

    def with_stage(self, record: StageRecord) -> "RoundRecord":
        return self.model_copy(update={"stages": self.stages.model_copy(update={record.stage: record})})


class BaseModelRecord(RecordPart):
    """The model that an adapter belongs to, or that a training of all weights started from."""

    model: str
    id: str
    """sha256 of the weights."""


def _sequences(probe: Any) -> Any:
    """Read a probe of former versions: one sequence, without the log-probabilities before the training."""
    if not isinstance(probe, dict) or "sequences" in probe:
        return probe
    return {"sequences": [{"token_ids": probe.get("token_ids"), "start": 1, "after": probe.get("logprobs")}]}


class PolicyRecord(Record):
    """`policy.json`: the policy that the round has trained."""

    layout: Literal[2] = 2
    id: str
    """sha256 of the weights."""
    kind: Literal["lora", "full"]
    base: BaseModelRecord
    parent: str
    """Id of the policy that the training started from."""
    round: int
    files: dict[str, str]
    """sha256 of each file in `policy/`."""
    probe: Annotated[Probe, BeforeValidator(_sequences)]


def _named_value(found: Any) -> Any:
    if not isinstance(found, dict) or "mean" not in found:
        return found
    return {"value": found["mean"], **{name: value for name, value in found.items() if name != "mean"}}


Mean = Annotated[Estimate, BeforeValidator(_named_value), PlainSerializer(interval_json)]
"""An estimate, in the file as mean, low, high and n."""


class GateBest(RecordPart):
    """A trained policy compared with the best one so far, where that is an earlier one than the current."""

    policy: str
    """Id of the best policy."""
    before: float | None
    """Its mean."""
    low: float | None
    """See `GateResult.low`."""


class GateResult(RecordPart):
    """A trained policy compared with the current one: `before` and `after` are their means, None where undefined."""

    metric: str
    before: float | None
    after: float | None
    max_drop: float
    """How far the metric may fall."""
    passed: bool
    """Whether the trained policy may become the current one."""
    confidence: float | None = None
    """Level of the intervals that decided; None where the means alone did."""
    low: float | None = None
    """Lower end of the change's one-sided interval, question by question."""
    best: GateBest | None = None
    """None where the best policy so far is the current one."""

    @property
    def change(self) -> str:
        """What was compared and what decided, in a few words."""
        means = " → ".join("undefined" if mean is None else f"{mean:.3f}" for mean in (self.before, self.after))
        text = f"{self.metric.replace('_', ' ')} {means}"
        if self.confidence is None:
            return text
        lows = [(self.low, "")] + ([] if self.best is None else [(self.best.low, " against the best policy so far")])
        shown = " and ".join(f"{'undefined' if low is None else f'{low:+.3f}'}{other}" for low, other in lows)
        return f"{text}, at least {shown} at {100 * self.confidence:g}%"


class EvaluationRecord(Record):
    """`evaluation.json`: a policy measured on the held-out questions; the initial policy has one as well."""

    layout: Literal[2] = 2
    policy: str
    """Id of the policy."""
    promoted: bool
    questions: int
    failed: int
    """Questions without an answer; they count as wrong."""
    metrics: dict[str, Mean]
    """Means by name: score, exact, f1, win_rate, length (tokens), kl (nats per answer); test_score over the test
    questions."""
    judge_errors: int = 0
    """Questions on which the judge failed; they are left out of `win_rate`."""
    difference: Mean | None
    """The score minus the initial policy's, question by question; None for the initial policy and without scores."""
    gate: GateResult | None
    """None for the initial policy."""


class GoldSetDisagreement(RecordPart):
    """A label of the gold set that the judge did not decide as people did; `people` is the side that they prefer."""

    id: str
    people: str
    judge: str
    """The side that the judge prefers, or the outcome without a side: `tie`, `unparsed`, `error`, `silent`."""
    reason: str = ""
    """The message of an `error`."""


class GoldSetRecord(Record):
    """`gold_set.json`: the judge's agreement with people on the gold set."""

    model_config = ConfigDict(extra="ignore")  # The file also holds the computed fields.

    layout: Literal[2] = 2
    round: int
    judge: str
    labels: int
    agreed: int
    """Labels that the judge decided as people did."""
    by_outcome: dict[str, int]
    min_agreement: float
    """Share of the labels that must agree."""
    disagreeing: tuple[GoldSetDisagreement, ...]
    """The other labels, in the order of the file."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def agreement(self) -> float:
        """Share of all labels, undecided ones included, on which the judge agrees with people."""
        return self.agreed / self.labels

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """Whether the round may go on."""
        return self.agreement >= self.min_agreement

    @property
    def summary(self) -> str:
        """The agreement and its limit in one line."""
        share = f"{self.agreed} of {self.labels} labels of the gold set ({self.agreement:.3f})"
        limit = f"at least {self.min_agreement:g} is required"
        return f"round {self.round}: judge {self.judge} agrees with people on {share}; {limit}"
