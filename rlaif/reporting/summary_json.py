"""How a run stands, as plain values for `--json`. Keys are only added, so that programs may rely on them."""

from dataclasses import asdict
from typing import Any

from rlaif.reporting.summary import PolicyState, RoundState, RunSummary
from rlaif.stats.intervals import interval_json


def summary_json(summary: RunSummary) -> dict[str, Any]:
    """Return a run's state, policies and rounds; `metric` names what `current` and `initial` are compared by."""
    return {
        "name": summary.name,
        "run": summary.place,
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
        "policies": [_policy(policy) for policy in summary.policies],
        "by_round": [_round(state) for state in summary.rounds],
        "last_event": summary.last_event,
        "missing": list(summary.missing),
    }


def _policy(policy: PolicyState) -> dict[str, Any]:
    return {
        "policy": policy.number,
        "id": policy.id,
        "kind": policy.kind,
        "parent": policy.parent,
        "questions": policy.questions,
        "failed": policy.failed,
        "metrics": {name: interval_json(found) for name, found in policy.metrics.items()},
        "difference": interval_json(policy.difference),
        "gate": None if policy.gate is None else asdict(policy.gate),
        "promoted": policy.promoted,
        "note": policy.note,
    }


def _round(state: RoundState) -> dict[str, Any]:
    return {
        "round": state.number,
        "done": list(state.done),
        "left": list(state.left),
        "pairs": state.pairs,
        "comparisons": state.counts("pairs", "by_status"),
        "pairs_by_judge": state.counts("pairs", "by_judge"),
    }
