"""One training as plain data: what to start from, what to learn from, where the result goes, and what came of it."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from rlaif.recipe import TrainingSection
from rlaif.store.policy_weights import Probe


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What a training worker needs to know; every worker gets the same.

    Attributes:
        base, revision: the model that round 0 starts from, as in the recipe.
        start: folder or URL of the current policy's adapter or weights; "" starts from the base.
        start_id: id of those weights.
        pairs: place of `pairs.parquet`.
        out: place of the folder for the trained policy.
        training: the recipe's section.
        seed: of the order, the adapter's initial values and dropout.
        dtype: the recipe's `policy.dtype`.
        gpu: whether each worker has a GPU.
        strategy: `ddp` or `fsdp`.
        threads: of each worker on a CPU; None shares the node's cores out.
        checkpoints: local folder for checkpoints by step, or None.
    """

    base: str
    revision: str | None
    start: str
    start_id: str
    pairs: str
    out: str
    training: TrainingSection
    seed: int
    dtype: str
    gpu: bool
    strategy: Literal["ddp", "fsdp"]
    threads: int | None
    checkpoints: str | None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training came to.

    Attributes:
        policy_id: sha256 of the trained weights.
        files: sha256 of each file of the policy's folder.
        probe: what engines must reproduce.
        steps, pairs, groups: optimizer steps; preference pairs; prompts with all their candidates.
        tokens: tokens that went through the model, forward and backward.
        seconds: of the training loop alone.
        loss: mean loss of the last step.
        reference: where the reference log-probabilities came from, as of `Reference.origin`.
        drift: mean distance of the engine's log-probabilities from the trainer's before the first update, in nats a
            token; None where there were none to compare.
        drift_p99: its 99th percentile over candidates.
        log: one entry a step: step, loss, margin, accuracy, grad_norm, lr.
    """

    policy_id: str
    files: dict[str, str]
    probe: Probe
    steps: int
    pairs: int
    groups: int
    tokens: int
    seconds: float
    loss: float
    reference: str
    drift: float | None
    drift_p99: float | None
    log: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `training.json` holds them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "TrainingResult":
        """Return the result that `to_json` wrote."""
        return cls(**{**value, "probe": Probe(**value["probe"])})
