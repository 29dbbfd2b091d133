"""Whether a trained policy is promoted: it may not do worse on the held-out questions than the recipe allows."""

import math
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class GateResult:
    """What the gate saw and said.

    Attributes:
        metric: what was compared.
        before, after: its mean of the current policy and of the trained one.
        max_drop: how far it may fall.
        passed: whether the trained policy may become the current one.
    """

    metric: str
    before: float
    after: float
    max_drop: float
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return plain values for `evaluation.json`."""
        return asdict(self)


def judge_gate(metric: str, before: float | None, after: float | None, max_drop: float) -> GateResult:
    """Compare a trained policy with the current one; a metric that is not there or no number never passes."""
    before, after = math.nan if before is None else before, math.nan if after is None else after
    return GateResult(metric, before, after, max_drop, passed=after >= before - max_drop)
