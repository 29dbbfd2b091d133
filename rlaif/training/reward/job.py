"""One training of a reward model as plain data, and what came of it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rlaif.training.reward.settings import RewardSettings


@dataclass(frozen=True, slots=True)
class RewardJob:
    """What a training worker needs to know; every worker gets the same.

    Attributes:
        model: what it starts from: a hub id, a folder or `builtin:...`.
        rows: place of the Parquet file with `chosen_ids` and `rejected_ids`.
        out: place of the folder for the trained model.
        settings: how.
        gpu: whether each worker has a GPU.
    """

    model: str
    rows: str
    out: str
    settings: RewardSettings
    gpu: bool


@dataclass(frozen=True, slots=True)
class RewardResult:
    """What a training came to.

    Attributes:
        model_id: sha256 of the trained weights.
        files: sha256 of each file of the model's folder.
        steps, pairs: optimizer steps; pairs that were trained on.
        tokens: of all pairs' conversations, once.
        seconds: of the training loop alone.
        log: one entry a step: step, loss, margin, accuracy, grad_norm, lr.
    """

    model_id: str
    files: dict[str, str]
    steps: int
    pairs: int
    tokens: int
    seconds: float
    log: list[dict[str, float]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return plain values, as `training.json` holds them."""
        return asdict(self)
