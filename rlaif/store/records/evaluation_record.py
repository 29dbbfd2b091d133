"""`evaluation.json`: a policy measured on the held-out questions, and the gate's result."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, PlainSerializer

from rlaif.stats.bootstrap import Estimate, interval_json
from rlaif.store.records.record import Record, RecordPart


def _named_value(found: Any) -> Any:
    if not isinstance(found, dict) or "mean" not in found:
        return found
    return {"value": found["mean"], **{name: value for name, value in found.items() if name != "mean"}}


Mean = Annotated[Estimate, BeforeValidator(_named_value), PlainSerializer(interval_json)]
"""An estimate, in the file as mean, low, high and n."""


class GateResult(RecordPart):
    """A trained policy compared with the current one."""

    metric: str
    before: float | None
    """The current policy's mean; None where it is undefined."""
    after: float | None
    """The trained policy's mean; None where it is undefined."""
    max_drop: float
    """How far the metric may fall."""
    passed: bool
    """Whether the trained policy may become the current one."""


class EvaluationRecord(Record):
    """A policy's figures on the held-out questions."""

    layout: Literal[2] = 2
    policy: str
    """Id of the policy."""
    promoted: bool
    questions: int
    failed: int
    """Questions without an answer; they count as wrong."""
    metrics: dict[str, Mean]
    """Means by name: score, exact, f1, win_rate, length (tokens), kl (nats per answer)."""
    difference: Mean | None
    """The score minus the initial policy's, question by question; None for the initial policy and without scores."""
    gate: GateResult | None
    """None for the initial policy."""
