"""The whole of a recipe, and the settings in it that cannot work together."""

from pydantic import Field, model_validator

from rlaif.recipe.base import Section
from rlaif.recipe.cluster import ClusterSection
from rlaif.recipe.judge import JudgeSection, PairsSection
from rlaif.recipe.policy import PolicySection, SamplingSection
from rlaif.recipe.questions import QuestionsSection
from rlaif.recipe.rounds import EvaluationSection, RoundsSection
from rlaif.recipe.training import TrainingSection


class Recipe(Section):
    """All of a run: what it learns from, how, and where."""

    name: str = Field(default="run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)
    """Name of the run and of its folder under `runs/`; the recipe file's name where it is left out."""
    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of everything drawn: the order of questions, the candidates, the training, the intervals."""
    policy: PolicySection
    questions: QuestionsSection
    sampling: SamplingSection = SamplingSection()
    judge: JudgeSection
    pairs: PairsSection = PairsSection()
    training: TrainingSection = TrainingSection()
    rounds: RoundsSection = RoundsSection()
    evaluation: EvaluationSection = EvaluationSection()
    cluster: ClusterSection = ClusterSection()

    @model_validator(mode="after")
    def _settings_work_together(self) -> "Recipe":
        check_lengths(self.policy, self.sampling, self.evaluation)
        if self.rounds.staleness and self.cluster.placement != "split":
            raise ValueError(
                "rounds.staleness: 1 samples while the trainer trains, but engines and trainer take turns with "
                "cluster.placement: shared; expected split"
            )
        return self


def check_lengths(policy: PolicySection, sampling: SamplingSection, evaluation: EvaluationSection) -> None:
    """Raise ValueError if an answer may be so long that it leaves no room for a prompt."""
    lengths = {"sampling.max_tokens": sampling.max_tokens, "evaluation.max_tokens": evaluation.max_tokens or 0}
    for name, tokens in lengths.items():
        if tokens >= policy.max_length:
            raise ValueError(
                f"{name} ({tokens}) leaves no room for a prompt in policy.max_length ({policy.max_length}); "
                "expected less"
            )
