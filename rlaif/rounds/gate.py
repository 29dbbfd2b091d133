"""Whether a trained policy is promoted: it may not fall further on the held-out questions than the recipe allows."""

import math

from rlaif.store.records.evaluation_record import GateResult


def compare_policies(metric: str, before: float | None, after: float | None, max_drop: float) -> GateResult:
    """Compare a trained policy with the current one.

    Args:
        metric: name of what is compared.
        before, after: means of the current and of the trained policy. None or NaN on either side never passes.
        max_drop: how far the metric may fall.
    """
    before, after = _defined(before), _defined(after)
    passed = before is not None and after is not None and after >= before - max_drop
    return GateResult(metric=metric, before=before, after=after, max_drop=max_drop, passed=passed)


def _defined(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
