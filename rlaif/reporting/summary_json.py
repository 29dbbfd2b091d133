"""The state of a run as plain values for `--json`. Keys are only added, so that programs may rely on them."""

from typing import Any

from rlaif.reporting.summary import RunSummary
from rlaif.stats.intervals import interval_json
from rlaif.store.records.round_record import RoundRecord


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """Return a run's state, policies and rounds; `metric` names the metric of `initial` and `current`."""
    return {
        "name": summary.record.name,
        "run": summary.root,
        "state": summary.state,
        "reason": summary.reason,
        "rounds": {"done": summary.rounds_done, "planned": summary.planned},
        "pairs": summary.pairs,
        "metric": summary.metric,
        "confidence": summary.confidence,
        "initial": interval_json(summary.initial.metrics.get(summary.metric)),
        "current": {
            "policy": summary.current.number,
            "id": summary.current.id,
            "value": interval_json(summary.current.metrics.get(summary.metric)),
            "difference": interval_json(summary.current.difference),
        },
        "policies": [
            {"policy": policy.number, **policy.model_dump(exclude={"number", "files"})} for policy in summary.policies
        ],
        "by_round": [_round(record) for record in summary.rounds],
        "last_event": summary.last_event,
        "missing": list(summary.missing),
    }


def _round(record: RoundRecord) -> dict[str, Any]:
    pairs = record.stages.pairs
    return {
        "round": record.round,
        "done": list(record.done),
        "left": list(record.left),
        "pairs": pairs.pairs if pairs else None,
        "comparisons": pairs.by_status if pairs else {},
        "pairs_by_judge": pairs.by_judge if pairs else {},
    }
