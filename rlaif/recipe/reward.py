"""How a reward model is trained, and whether a run trains its judge's anew."""

from pydantic import Field, model_validator

from rlaif.recipe.base import Section
from rlaif.recipe.training import LoraSection, OptimizerSection


class RewardTrainingSection(OptimizerSection):
    """One training of a reward model on pairs of answers."""

    learning_rate: float = Field(default=1e-5, gt=0)
    """Peak learning rate of AdamW. An adapter takes a far larger one than full weights."""
    pairs_per_step: int = Field(default=16, ge=1)
    """Pairs in one optimizer step over all workers."""
    pairs_per_pass: int = Field(default=4, ge=1)
    """Pairs in one forward pass of a worker; bounds memory, not the result."""
    max_length: int = Field(default=2048, ge=16)
    """Longest conversation, in tokens, at most what the model takes. A longer one loses the beginning of its context,
    the same for both answers; a pair that does not fit without any context is left out."""
    center: float = Field(default=0.0, ge=0)
    """Weight of the squared sum of a pair's two rewards, which draws their mean to zero (Eisenstein et al. 2023,
    arXiv:2312.09244)."""
    lora: LoraSection | None = None
    """A low-rank adapter, merged into the weights that are saved; null trains all weights."""

    def check_step(self, workers: int) -> None:
        """Raise ValueError unless a step's pairs are whole passes of all workers."""
        if self.pairs_per_step % (self.pairs_per_pass * workers):
            raise ValueError(
                f"training.pairs_per_step ({self.pairs_per_step}) is not a multiple of training.pairs_per_pass "
                f"({self.pairs_per_pass}) times cluster.training.workers ({workers}); expected a multiple"
            )


class RewardSection(Section):
    """The reward model of the run's judge, trained anew as the policy moves."""

    retrain: bool = False
    """Train the judge's reward model anew, from the weights that its judge file names, before the candidates of a phase
    are judged: on people's pairs, and on those of the run so far that people or other judges decided. Those that a
    reward model decided teach it nothing."""
    pairs: str | None = Field(default=None, min_length=1)
    """With `retrain`: a file of people's labels or preferences to learn from, as `rlaif train-reward` takes it."""
    heldout_share: float = Field(default=0.2, gt=0, lt=1)
    """With `retrain`: share of the questions whose pairs measure the reward model and are never trained on."""
    training: RewardTrainingSection = RewardTrainingSection()
    """With `retrain`: the training."""

    @model_validator(mode="after")
    def _has_an_effect(self) -> "RewardSection":
        for name, field in type(self).model_fields.items():
            if not self.retrain and getattr(self, name) != field.default:
                raise ValueError(f"{name}: nothing is trained without retrain: true")
        return self
