"""`policy.json`: the policy that a round has trained."""

from typing import Literal

from rlaif.store.policy_weights import Probe
from rlaif.store.records.record import Record, RecordPart


class BaseModelRecord(RecordPart):
    """The model that an adapter belongs to, or that a training of all weights started from."""

    model: str
    id: str
    """sha256 of the weights."""


class PolicyRecord(Record):
    """A trained policy."""

    layout: Literal[2] = 2
    id: str
    """sha256 of the weights."""
    kind: Literal["lora", "full"]
    base: BaseModelRecord
    parent: str
    """Id of the policy that the training started from."""
    round: int
    files: dict[str, str]
    """sha256 of each file in `policy/`."""
    probe: Probe
