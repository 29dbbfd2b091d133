"""`training.json` of a training from a file, without a run."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue

from rlaif.recipe import KtoSection, RatingsSection, SftSection, TrainingSection
from rlaif.store.records.record import Record, RecordPart
from rlaif.store.records.round_records import BaseModelRecord


class FileTrainingRecord(Record):
    """A training from a file, without a run."""

    layout: Literal[1] = 1
    file: str
    sha256: str
    """Of the rows that `rlaif train` read; of the whole file for `rlaif train-reward`."""
    files: dict[str, str]
    """sha256 of each file in the trained model's folder."""
    steps: int
    tokens: int
    seconds: float
    left_out: dict[str, list[str]] = Field(default_factory=dict)
    """Places of the rows of the file that are no preference or demonstration, by the reason."""
    log: list[dict[str, float]]
    """One entry a step: step, loss, grad_norm, lr; of preferences also margin and accuracy."""


class StartingPolicy(RecordPart):
    """The policy that `rlaif train` started from, which was also its reference policy."""

    model: str
    adapter: str | None
    """Folder of the adapter that was trained further."""
    id: str
    """sha256 of the weights."""
    chat_template_kwargs: dict[str, JsonValue] = Field(default={})
    """Arguments of the chat template that rendered the preferences."""


def _current_names(training: Any) -> Any:
    """Read the settings of an older training, without a limit that had another meaning than today's."""
    if not isinstance(training, dict):
        return training
    return {name: value for name, value in training.items() if name != "probe_tolerance"}


class DpoFileRecord(FileTrainingRecord):
    """What `rlaif train` writes."""

    policy: StartingPolicy
    pairs: int
    too_long: list[str]
    """Ids of pairs longer than the model's context; left out."""
    training: Annotated[TrainingSection, BeforeValidator(_current_names)]
    policy_id: str
    groups: int
    """Prompts with their candidates and pairs."""
    loss: float
    """Mean loss of the last step."""
    reference: str
    """Where the reference policy's log-probabilities came from; `none` where the loss has no reference policy."""
    mismatch: float | None
    """Mean difference between the engine's and the trainer's log-probabilities before the first step, in nats a token;
    None where there was nothing to compare."""
    mismatch_bias: float | None = None
    """Its mean with its sign, over all tokens."""
    mismatch_margin: float | None = None
    """99th percentile over pairs of what it moves their margins by: beta times the difference of their errors."""
    mismatch_p99: float | None = None
    """Of older trainings: the 99th percentile of `mismatch` over candidates."""
    attention: str | None = None
    """How the trainer kept a prompt's candidates apart: packed by `groups`, `flex`, `mask` or `eager`, or `alone`."""
    unpacked: str = ""
    """Why each candidate was read after a prompt of its own; empty where the prompt was read once for all."""


class SftFileRecord(FileTrainingRecord):
    """What `rlaif train --objective sft` writes."""

    policy: StartingPolicy
    prompt: "TemplateRecord"
    demonstrations: int
    """Sequences that were learned: one for each conversation, or for each of its answers."""
    too_long: list[str]
    """Ids of demonstrations longer than the model's context; left out."""
    training: SftSection
    policy_id: str
    groups: int
    """Beginnings that sequences have in common, each computed once for all of its sequences."""
    learned_tokens: int
    """Tokens with a loss, of one pass over the demonstrations."""
    loss: float
    """Mean negative log-likelihood of a token in the last step, in nats."""
    attention: str
    unpacked: str
    """See `DpoFileRecord`."""


class KtoFileRecord(FileTrainingRecord):
    """What `rlaif train --objective kto` writes."""

    policy: StartingPolicy
    prompt: "TemplateRecord"
    bounds: RatingsSection
    """Which numbers of the file were good."""
    ratings: int
    """Rated answers that were learned from."""
    too_long: list[str]
    """Ids of ratings longer than the model's context; left out."""
    training: KtoSection
    policy_id: str
    groups: int
    """Prompts with their answers, of all epochs."""
    desirable: int
    undesirable: int
    loss: float
    """Mean loss of the last step."""
    attention: str
    unpacked: str
    """See `DpoFileRecord`."""


class TemplateRecord(RecordPart):
    """The template that asked the policy a question."""

    name: str
    sha256: str


class TrainedPairs(RecordPart):
    """The pairs that a reward model was trained on."""

    questions: int
    pairs: int
    human: int
    """Pairs that a person decided."""
    sha256: str
    cut: list[str]
    """Ids of pairs whose context lost its beginning."""
    too_long: list[str]
    """Ids of pairs that do not fit without any context; left out."""


class HeldOutPairs(RecordPart):
    """The reward model's preferences on pairs that it was not trained on."""

    questions: int
    pairs: int
    right: int
    tied: int
    failed: list[str]
    """Ids of pairs without two scores."""
    accuracy: float
    sha256: str


class RewardFileRecord(FileTrainingRecord):
    """What `rlaif train-reward` writes."""

    form: Literal["labels", "preferences"]
    pairs: int
    prompt: TemplateRecord
    ties: int
    """Labels without a better answer; left out."""
    unfinished: list[str] = Field(default_factory=list)
    """Ids of labels whose preferred answer is thinking without an end; left out."""
    model: BaseModelRecord
    train: TrainedPairs
    heldout: HeldOutPairs | None
    settings: dict[str, Any]
    """All of `rlaif train-reward --set`."""
    model_id: str
