"""The settings of a reward-model training."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.recipe import LoraSection, OptimizerSection, TrainersSection
from rlaif.recipe.base import Section


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


class RewardClusterSection(Section):
    """Placement of the training."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes GPUs where the Ray cluster has them."""
    training: TrainersSection = TrainersSection()
    """Workers that train."""


class RewardSettings(Section):
    """The settings of `rlaif train-reward --set`."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed of the held-out questions, of the order, and of the new output's initial weights."""
    revision: str | None = None
    """Branch, tag or commit of a hub model; null is its default branch."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Type of a frozen base's weights; full weights train in float32."""
    training: RewardTrainingSection = RewardTrainingSection()
    cluster: RewardClusterSection = RewardClusterSection()

    @model_validator(mode="after")
    def _settings_work_together(self) -> "RewardSettings":
        step, workers = self.training.pairs_per_step, self.cluster.training.workers
        if step % (self.training.pairs_per_pass * workers):
            raise ValueError(
                f"training.pairs_per_step ({step}) is not a multiple of training.pairs_per_pass "
                f"({self.training.pairs_per_pass}) times cluster.training.workers ({workers}); expected a multiple"
            )
        if self.cluster.training.strategy == "fsdp" and self.cluster.device == "cpu":
            raise ValueError("cluster.training.strategy: fsdp needs GPUs, but cluster.device is cpu; expected ddp")
        return self
