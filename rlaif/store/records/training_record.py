"""`training.json` of a round: its training step by step."""

from typing import Literal

from pydantic import Field

from rlaif.store.records.record import Record


class TrainingRecord(Record):
    """A training of a round."""

    layout: Literal[2] = 2
    objective: str = "dpo"
    policy_id: str
    steps: int
    pairs: int = 0
    """Pairs; 0 where the training learned from something else."""
    units: int = 0
    """What the training learned from; 0 in trainings of before it was kept, which had pairs."""
    unit: str = "pairs"
    """What that is, in the plural."""
    groups: int
    """Prompts, each with all that is learned after it."""
    tokens: int
    """Tokens that went through the model, forward and backward."""
    seconds: float
    loss: float
    """Mean loss of the last step."""
    figures: dict[str, float] = Field(default_factory=dict)
    """The objective's own, by name."""
    reference_logps: str | None = None
    """Where the reference policy's log-probabilities came from; `none` where the loss has no reference policy, None
    where the objective has none."""
    mismatch: float | None = None
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
    log: list[dict[str, float]]
    """One entry a step: step, loss, margin, accuracy, grad_norm, lr."""
