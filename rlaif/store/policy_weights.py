"""Which weights an engine answers with: their id and their folder."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class ProbeSequence:
    """A token sequence with the trainer's log-probabilities, in nats, of its tokens from `start` on.

    Attributes:
        start: at least 1.
        after: under the trained weights.
        before: under those that the training started from; None in runs of before they were kept.
    """

    token_ids: list[int]
    start: int
    after: list[float]
    before: list[float] | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """Sequences by which an engine proves that it has the right weights."""

    sequences: list[ProbeSequence]


@dataclass(frozen=True, slots=True)
class PolicyWeights:
    """A policy as engines load it.

    Attributes:
        id: sha256 of the weights (of the adapter's, for `lora`).
        kind: `base` is the model that the engine started with; `lora` an adapter on it; `full` new weights.
        folder: directory or fsspec URL of the adapter or the weights; "" for `base`.
        probe: what the engine must reproduce after loading; None for `base`.
        serial: number of the training that made it, from which the engine derives fresh LoRA ids; 0 for `base`.
    """

    id: str
    kind: Literal["base", "lora", "full"]
    folder: str = ""
    probe: Probe | None = None
    serial: int = 0
