"""The gate: what a trained policy must reach on held-out questions to be promoted."""

import math

from rlaif.store.records.round_records import GateResult


def compare_policies(metric: str, before: float | None, after: float | None, max_drop: float) -> GateResult:
    """Compare a trained policy's mean `after` with the current one's, of which it may fall `max_drop` short.

    None or NaN on either side never passes.
    """
    before, after = (None if mean is None or math.isnan(mean) else mean for mean in (before, after))
    passed = before is not None and after is not None and after >= before - max_drop
    return GateResult(metric=metric, before=before, after=after, max_drop=max_drop, passed=passed)
