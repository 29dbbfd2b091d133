"""What the phases of all objectives share: their rounds, and how many questions each takes."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, model_validator

from rlaif.recipe.base import Section
from rlaif.recipe.judge import JudgeSection
from rlaif.recipe.policy import SamplingSection
from rlaif.recipe.training import PolicyTrainingSection

Amount = int | float
"""Questions of a round: a count, or a share of the set."""


class PhaseSection(Section):
    """Some rounds in a row with one objective.

    A section that the recipe has as well has the recipe's values where the phase sets none. One that the rounds of this
    phase do not use is None.
    """

    objective: str
    """What the rounds learn from, and how: one of the objectives below."""
    name: str | None = Field(default=None, min_length=1, max_length=60)
    """Name in reports; null is the objective's."""
    rounds: int = Field(default=1, ge=1, le=10_000)
    """Rounds of the phase. A finished run goes on if its last phase has more, or if there are more phases."""
    questions: Amount | list[Amount] = Field(default=1.0)
    """Questions a round takes: a count (`64`), a share of the train set (`0.2`), or a list with one of either for each
    round. A phase goes on in the train set where the one before stopped."""
    sampling: SamplingSection | None = None
    """What differs from the recipe's `sampling` in these rounds."""
    judge: JudgeSection | None = None
    """What differs from the recipe's `judge` in these rounds, or the name of another judge, which has the settings of
    its own file. The recipe's judge stays that of the held-out answers."""
    training: PolicyTrainingSection
    """What differs from the recipe's `training` in these rounds, of the keys that the objective has."""

    @property
    def title(self) -> str:
        """The phase's name in reports."""
        return self.name or self.objective

    @property
    def takes_questions(self) -> bool:
        """Whether the rounds take questions of the train set."""
        return True

    @property
    def files(self) -> dict[str, str]:
        """The paths of the files that the rounds learn from, by the key of the section that names one."""
        return {}

    @classmethod
    def shared(cls, tree: Mapping[str, Any]) -> dict[str, type[Section]]:
        """Return the sections that such a phase has from the recipe; `tree` holds the phase's unchecked values."""
        kinds = {
            name: cls.model_fields[name].annotation
            for name in ("sampling", "judge", "pairs", "training")
            if name in cls.model_fields
        }
        return {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Section)}

    @model_validator(mode="after")
    def _fits_its_rounds(self) -> "PhaseSection":
        check_amounts(self.questions, self.rounds)
        if self.sampling is not None:
            self.sampling.check_rounds(self.rounds)
        return self


def check_amounts(questions: Amount | list[Amount], rounds: int) -> None:
    """Raise ValueError unless these are amounts for so many rounds."""
    amounts = questions if isinstance(questions, list) else [questions]
    if not amounts:
        raise ValueError("questions: an empty list; expected a count, a share, or one of either for each round")
    for amount in amounts:
        if isinstance(amount, float) and not 0 < amount <= 1:
            raise ValueError(f"questions: {amount} is no share; expected a count such as 64 or a share in (0, 1]")
        if isinstance(amount, int) and amount < 1:
            raise ValueError(f"questions: {amount}; expected a count of at least 1 or a share in (0, 1]")
    if isinstance(questions, list) and len(questions) < rounds:
        raise ValueError(f"questions: {len(questions)} increments for {rounds} rounds; expected one each")


def amounts_of(questions: Amount | list[Amount], rounds: int) -> list[Amount]:
    """Return the amount of each round."""
    return questions[:rounds] if isinstance(questions, list) else [questions] * rounds
