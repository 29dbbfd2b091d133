"""The JSON files of a run: `run.json` and `spending.json`."""

from collections.abc import Iterator
from typing import Literal

from pydantic import ConfigDict

from rlaif.store.records.record import Record, RecordPart
from rlaif.store.records.round_records import BaseModelRecord

RunState = Literal["running", "finished", "stopped", "interrupted", "failed"]


class GitState(RecordPart):
    """The checkout that a run was started in."""

    commit: str
    dirty: bool
    """Whether there were uncommitted changes."""


class InitialPolicy(RecordPart):
    model: str
    id: str
    """sha256 of the weights; of the adapter's, where the model is an adapter that the run trains further."""
    base: BaseModelRecord | None = None
    """The model of that adapter."""
    template: str
    """Name of the template that renders its prompts."""
    template_sha: str
    chat_template_sha: str | None = None
    """sha256 of the model's chat template; None for the embedded model, and where its files could not be read."""


class JudgeRecord(RecordPart):
    """A judge as its spec describes it; the fields of its kind are kept beside these."""

    model_config = ConfigDict(extra="allow")

    name: str
    kind: str
    sha: str
    prompt: str | None = None
    """Name of the judge's template; None for a judge without one."""
    prompt_sha: str | None = None
    model: str | None = None
    """The model that the judge asks; None for a judge without one."""
    members: tuple["JudgeRecord", ...] = ()
    """The judges of a panel."""

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "JudgeRecord"]]:
        """Yield the judge and its members, each with its depth in the panel."""
        yield depth, self
        for member in self.members:
            yield from member.walk(depth + 1)


class QuestionSet(RecordPart):
    count: int
    sha: str


class RunRecord(Record):
    """`run.json`: what makes a run this run and no other, and its state."""

    layout: Literal[2] = 2
    name: str
    rlaif: str
    """Version of rlaif."""
    created: str
    versions: dict[str, str]
    """Versions of Python and of libraries."""
    git: GitState | None
    """None outside a checkout."""
    seed: int
    policy: InitialPolicy
    judge: JudgeRecord
    """The recipe's judge."""
    phase_judges: tuple[JudgeRecord, ...] = ()
    """The other judges of phases, each once."""
    questions: dict[str, QuestionSet]
    """By name: `train`, `heldout`, where the recipe names one `test`, and files that phases learn from."""
    grading: int = 1
    """Number of the way in which answers are compared with gold answers; runs from before there were two have 1."""
    state: RunState

    @property
    def judges(self) -> tuple[JudgeRecord, ...]:
        """All judges of the run, the recipe's first."""
        return (self.judge, *self.phase_judges)


class SpendingRecord(Record):
    """`spending.json`: money spent on the judge's endpoints, over all starts of the run."""

    layout: Literal[2] = 2
    spent: float
    currency: str
