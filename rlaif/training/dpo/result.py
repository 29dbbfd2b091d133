"""What a DPO training reports."""

from dataclasses import dataclass

from rlaif.store.policy_weights import Probe
from rlaif.training.job import TrainingResult


@dataclass(frozen=True, slots=True, kw_only=True)
class DpoResult(TrainingResult):
    """See `TrainingResult`; `tokens` are those of all packs.

    Attributes:
        policy_id: sha256 of the trained weights.
        probe: log-probabilities that engines must reproduce.
        groups: prompts, each with all its candidates.
        loss: mean loss of the last step.
        reference: where the reference log-probabilities came from; see `Reference.origin`.
        mismatch: mean distance of the engine's log-probabilities from the trainer's before the first update, in nats a
            token; None without any to compare.
        mismatch_p99: its 99th percentile over candidates.
    """

    policy_id: str
    probe: Probe
    groups: int
    loss: float
    reference: str
    mismatch: float | None
    mismatch_p99: float | None
