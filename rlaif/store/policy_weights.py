"""Which weights an engine answers with: the id that provenance records, and where they lie."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Probe:
    """A fixed token sequence and what the trainer says of it, to tell whether an engine has the weights it should.

    Attributes:
        token_ids: the sequence, at least two tokens.
        logprobs: log-probability of each token but the first, given those before it; float32 of the trainer.
    """

    token_ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True, slots=True)
class PolicyWeights:
    """A policy as engines load it.

    Attributes:
        id: sha256 of the weights (of the adapter's, for `lora`).
        kind: `base` is the model that the engine started with; `lora` an adapter on it; `full` new weights.
        folder: directory or fsspec URL of the adapter or the weights; "" for `base`.
        probe: what the engine must reproduce after loading; None for `base`.
        serial: which training made it; the engine derives fresh LoRA ids from it. 0 for `base`.
    """

    id: str
    kind: Literal["base", "lora", "full"]
    folder: str = ""
    probe: Probe | None = None
    serial: int = 0
