"""How many rounds, how much data each, when a policy is promoted, and what is measured."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.recipe.base import Section


class GateSection(Section):
    """What a trained policy must pass on the held-out questions before it is promoted."""

    max_drop: float = Field(default=0.0, ge=0, le=1)
    """How far the held-out score may fall below the current policy's. Where not every held-out question has a gold
    answer, how far the win rate against the current policy may fall below one half."""
    on_fail: Literal["continue", "stop"] = "continue"
    """`continue` samples the next round from the policy that is current; `stop` ends the run."""


class RoundsSection(Section):
    """The loop."""

    count: int = Field(default=2, ge=1, le=10_000)
    """Rounds of a run; a finished run with a larger count goes on where it ended."""
    questions: int | float | list[int | float] = Field(default=1.0)
    """Questions a round takes: a count (`64`), a share of the train set (`0.2`), or a list with one of either for each
    round. `1` is one question, `1.0` all of them."""
    staleness: int = Field(default=0, ge=0, le=1)
    """`1` samples the next round while this one trains, with the policy at hand, which is then one round behind; needs
    `cluster.placement: split`. `0` samples each round from the policy that is current when it begins."""
    gate: GateSection = GateSection()
    """When a policy is promoted."""

    @model_validator(mode="after")
    def _increments_are_positive(self) -> "RoundsSection":
        increments = self.questions if isinstance(self.questions, list) else [self.questions]
        if not increments:
            raise ValueError("questions: an empty list; expected a count, a share, or one of either for each round")
        for amount in increments:
            if isinstance(amount, float) and not 0 < amount <= 1:
                raise ValueError(f"questions: {amount} is no share; expected a count such as 64 or a share in (0, 1]")
            if isinstance(amount, int) and amount < 1:
                raise ValueError(f"questions: {amount}; expected a count of at least 1 or a share in (0, 1]")
        if isinstance(self.questions, list) and len(self.questions) < self.count:
            raise ValueError(f"questions: {len(self.questions)} increments for {self.count} rounds; expected one each")
        return self


class EvaluationSection(Section):
    """What is measured on the held-out questions after every round."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Longest answer in tokens, below `policy.max_length`; null takes `sampling.max_tokens`."""
    kl_questions: int = Field(default=32, ge=0)
    """Held-out questions whose answers estimate the KL divergence to the initial policy; 0 leaves it out."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Level of all intervals."""
