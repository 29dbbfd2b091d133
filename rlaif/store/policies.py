"""Which policy is current, read from what the rounds have left behind."""

from typing import Any

from rlaif.io.files import read_json
from rlaif.store.policy_weights import PolicyWeights, Probe
from rlaif.store.rundir import RoundDir, RunDir


def trained_policy(directory: RoundDir) -> PolicyWeights | None:
    """Return the policy that a round has trained, or None where it has trained none."""
    value: dict[str, Any] | None = read_json(directory.path("policy.json"))
    if value is None:
        return None
    return PolicyWeights(
        id=value["id"],
        kind=value["kind"],
        folder=directory.path("policy"),
        probe=Probe(**value["probe"]),
        serial=directory.number + 1,
    )


def current_policy(run: RunDir, base_id: str, before: int) -> tuple[PolicyWeights, RoundDir | None]:
    """Return the policy that round `before` samples from, and the round that trained it (None: the initial one)."""
    for number in sorted((d.number for d in run.rounds() if d.number < before), reverse=True):
        directory = run.round(number)
        if directory.manifest()["promoted"]:
            policy = trained_policy(directory)
            if policy is not None:
                return policy, directory
    return PolicyWeights(base_id, "base"), None
