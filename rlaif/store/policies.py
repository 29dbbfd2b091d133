"""The policies of a run, as their rounds have left them."""

from rlaif.store.policy_weights import PolicyWeights
from rlaif.store.records.policy_record import PolicyRecord
from rlaif.store.rundir import RoundDir, RunDir


def trained_policy(directory: RoundDir) -> PolicyWeights | None:
    """Return the policy that a round has trained, or None if it has trained none."""
    record = PolicyRecord.read(directory.path("policy.json"))
    if record is None:
        return None
    folder = directory.path("policy")
    return PolicyWeights(record.id, record.kind, folder, record.probe, serial=directory.number + 1)


def current_policy(run: RunDir, base_id: str, before: int) -> tuple[PolicyWeights, RoundDir | None]:
    """Return the policy that round `before` samples from, and the round that trained it (None: the initial one)."""
    for directory in reversed([entry for entry in run.rounds() if entry.number < before]):
        if directory.record().promoted:
            policy = trained_policy(directory)
            if policy is not None:
                return policy, directory
    return PolicyWeights(base_id, "base"), None
