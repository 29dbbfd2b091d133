"""The interface of an objective: what its rounds gather, and how a policy is trained on it.

Invariant: the loop knows no objective. Adding one adds its phase to `rlaif/recipe/objectives.py`, its training to
`rlaif/training`, and a module here that is named in `registry.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from rlaif.chat import Messages
from rlaif.data.question import Question
from rlaif.judges.judge import Judge
from rlaif.progress import Progress
from rlaif.prompts.template import PromptTemplate
from rlaif.recipe import FeedbackSection, LoraSection, PhaseSection, PolicySection
from rlaif.store.records.round_records import GatherStage, PairsStage, Stage
from rlaif.store.records.run_records import QuestionSet
from rlaif.store.rundir import RoundDir, RunDir
from rlaif.training.group_training import GroupTrainingResult
from rlaif.training.job import TrainingJob, Worker

P = TypeVar("P", bound=PhaseSection)


@dataclass(frozen=True, slots=True)
class Materials:
    """What a phase may load before a run starts.

    Attributes:
        train: the run's train set.
        key: of the phase in the recipe, such as `phases.0`, for messages.
        feedback: of the recipe.
    """

    train: Sequence[Question]
    policy: PolicySection
    lora: LoraSection | None
    template: PromptTemplate
    key: str
    feedback: FeedbackSection


@dataclass(frozen=True, slots=True)
class RoundWork:
    """What a round gathers from, and where to.

    Attributes:
        number: of the round within its phase, from 0.
        questions: the round's own, in order; empty where the phase takes none.
        train: the whole train set by id.
        judge: of the phase; it has judged the candidates where the phase samples some.
        render: returns the chat that asks the policy a question.
        say: tells a person a line.
        idle: gives back what the round needs no more until it trains, before it waits for people.
    """

    run: RunDir
    directory: RoundDir
    number: int
    questions: Sequence[Question]
    train: Mapping[str, Question]
    judge: Judge
    policy: PolicySection
    seed: int
    render: Callable[[Question], Messages]
    progress: Progress
    say: Callable[[str], None]
    idle: Callable[[], Awaitable[None]]


class Objective(ABC, Generic[P]):
    """An objective with what one phase has loaded for it.

    Attributes:
        stages: of its rounds, in order.
        rows: name of the file in a round's folder that holds what the round learns from.
        carries_state: whether the optimizer's state lives across the rounds of a phase.
    """

    stages: ClassVar[tuple[Stage, ...]]
    rows: ClassVar[str]
    carries_state: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def prepare(cls, phase: P, materials: Materials) -> "Objective[P]":
        """Load and check what a phase names, before anything starts.

        Raises:
            UserError: a file is wrong, or the phase could learn nothing.
        """

    @property
    @abstractmethod
    def train(self) -> Callable[[TrainingJob[Any], Worker], GroupTrainingResult]:
        """The training that each worker runs on the rows."""

    @property
    def samples(self) -> bool:
        """Whether its rounds sample candidates and judge them."""
        return "sample" in self.stages

    @property
    def sources(self) -> Mapping[str, QuestionSet]:
        """What the phase has loaded beside the questions, by name; a run is not continued with another."""
        return {}

    @abstractmethod
    async def gather(self, phase: P, work: RoundWork) -> GatherStage | PairsStage:
        """Write the round's rows, and return the record of the stage. The same round always writes the same rows."""
