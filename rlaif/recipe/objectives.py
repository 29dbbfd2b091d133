"""The phases of each objective, and what they alone have."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlaif.recipe.base import Section
from rlaif.recipe.judge import JudgeSection, PairsSection
from rlaif.recipe.phase import PhaseSection
from rlaif.recipe.policy import SamplingSection
from rlaif.recipe.policy_gradients import GrpoPhase, PpoPhase, RlooPhase
from rlaif.recipe.training import KtoSection, RatingsSection, SftSection, TrainingSection


class DpoPhase(PhaseSection):
    """Rounds that learn from preferences between sampled candidates."""

    objective: Literal["dpo"]
    """`dpo`: preferences between sampled candidates."""
    sampling: SamplingSection = SamplingSection()
    judge: JudgeSection
    pairs: PairsSection = PairsSection()
    """What differs from the recipe's `pairs` in these rounds."""
    training: TrainingSection = TrainingSection()


class GoldAnswers(Section):
    """The gold answers of the round's questions; a question without one is left out."""

    type: Literal["gold_answers"] = "gold_answers"
    table_questions: int = Field(default=0, ge=0, le=100)
    """Questions to make from the tables of each context, at most so many: the figure under a head, or in which year a
    figure was the largest. Their answers are the tables' own, and they are demonstrations beside the gold answers. All
    that are on one context are computed together."""


class DemonstrationFile(Section):
    """Demonstrations from a file; `questions` then counts them, and shares are of the file."""

    type: Literal["file"]
    path: str = Field(min_length=1)
    """A file of demonstrations in any form that `rlaif train --objective sft` takes; see [data.md](data.md)."""
    columns: dict[str, str | None] = Field(default_factory=dict)
    """The file's own names of columns, by field: `{completion: reply}`; null reads none."""


class BestOfN(Section):
    """The best of the candidates that the policy samples for a question, as the judge sees it (rejection sampling)."""

    type: Literal["best_of_n"]
    min_reward: float | None = Field(default=None, allow_inf_nan=False)
    """Least reward of a candidate that is learned: the judge's rating on its own scale, or else the share of its
    comparisons that it wins. Null asks that it be better than another candidate of its question."""


class SftPhase(PhaseSection):
    """Rounds that learn demonstrations: answers that the policy is to give as they are."""

    objective: Literal["sft"]
    """`sft`: demonstrations. Unless they are the best of sampled candidates, a round asks neither engines nor judge."""
    demonstrations: Annotated[GoldAnswers | DemonstrationFile | BestOfN, Field(discriminator="type")] = GoldAnswers()
    """Where the demonstrations come from: `gold_answers`, a `file`, or the `best_of_n`."""
    training: SftSection = SftSection()

    @property
    def takes_questions(self) -> bool:
        """Whether the rounds take questions of the train set, and not demonstrations of a file."""
        return not isinstance(self.demonstrations, DemonstrationFile)

    @classmethod
    def shared(cls, tree: Mapping[str, Any]) -> dict[str, type[Section]]:
        """See `PhaseSection`."""
        source = tree.get("demonstrations")
        sampled = isinstance(source, Mapping) and source.get("type") == "best_of_n"
        own: dict[str, type[Section]] = {"sampling": SamplingSection, "judge": JudgeSection}
        return super().shared(tree) | (own if sampled else {})

    @property
    def files(self) -> dict[str, str]:
        """See `PhaseSection`."""
        source = self.demonstrations
        return {"demonstrations": source.path} if isinstance(source, DemonstrationFile) else {}

    @model_validator(mode="after")
    def _uses_what_it_sets(self) -> "SftPhase":
        for name in ("sampling", "judge"):
            if getattr(self, name) is not None and not isinstance(self.demonstrations, BestOfN):
                raise ValueError(f"{name}: demonstrations are neither sampled nor judged; remove it")
        return self


class RatingFile(RatingsSection):
    """Ratings of people from a file, which join those of the judge. An answer that both rated has the people's."""

    path: str = Field(min_length=1)
    """A file of ratings in any form that `rlaif train --objective kto` takes; see [data.md](data.md). Each round takes
    the share of them that it takes of the questions, in a seeded order, and none again before all others."""
    columns: dict[str, str | None] = Field(default_factory=dict)
    """The file's own names of columns, by field: `{completion: reply}`; null reads none."""


class KtoPhase(PhaseSection):
    """Rounds that learn from sampled candidates that are rated one by one."""

    objective: Literal["kto"]
    """`kto`: candidates that are good or bad by their scores, each by itself."""
    sampling: SamplingSection = SamplingSection()
    judge: JudgeSection
    ratings: RatingsSection
    """Which scores are good and which are bad, on the judge's own scale: 0 to 1 for the exact check, and for judges
    that compare and panels the win rate."""
    human_ratings: RatingFile | None = None
    """Ratings of people that join each round's; null adds none."""
    training: KtoSection = KtoSection()

    @property
    def files(self) -> dict[str, str]:
        """See `PhaseSection`."""
        return {"human_ratings": self.human_ratings.path} if self.human_ratings else {}

    @model_validator(mode="after")
    def _scores_are_read(self) -> "KtoPhase":
        if self.ratings.desirable_from is None:
            raise ValueError("ratings.desirable_from: missing; expected the score from which on an answer is good")
        return self


Phase = Annotated[DpoPhase | SftPhase | KtoPhase | GrpoPhase | RlooPhase | PpoPhase, Field(discriminator="objective")]

PHASES: Mapping[str, type[PhaseSection]] = {
    "dpo": DpoPhase,
    "sft": SftPhase,
    "kto": KtoPhase,
    "grpo": GrpoPhase,
    "rloo": RlooPhase,
    "ppo": PpoPhase,
}


def shared_sections(phase: Mapping[str, Any]) -> dict[str, type[Section]]:
    """Return the sections that an unchecked phase has from the recipe; none where its objective is unknown."""
    kind = PHASES.get(str(phase.get("objective")))
    return kind.shared(phase) if kind else {}
