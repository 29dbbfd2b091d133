"""A training as plain data: the weights it starts from, its rows, its destination and its result."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from rlaif.recipe import OptimizerSection, TrainersSection

S = TypeVar("S", bound=OptimizerSection)

OnStep = Callable[[dict[str, float]], None]
"""Takes the log entry of each step as it happens: `TrainingResult.log`'s, with the number of all `steps`."""


def ignore_step(entry: dict[str, float]) -> None:
    """Drop a step's entry: the `OnStep` of a training that nobody watches."""


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """The weights that a training starts from.

    Attributes:
        base, revision: the model, as `resolve_model` takes it.
        dtype: of a frozen base, as in a recipe; weights that are trained are float32.
        path: folder or URL of an adapter on the base, or of full weights trained from it; "" is the initial policy.
        id: sha256 of these weights.
        adapter, adapter_revision: the initial policy's adapter on the base, as `resolve_adapter` takes it; "" where the
            initial policy is the base itself.
    """

    base: str
    revision: str | None
    dtype: str
    path: str = ""
    id: str = ""
    adapter: str = ""
    adapter_revision: str | None = None


@dataclass(frozen=True, slots=True)
class TrainingJob(Generic[S]):
    """One training; every worker gets the same.

    Attributes:
        rows: path or URL of the Parquet file with the encoded rows.
        out: path or URL of the folder for the trained model.
        seed: of the order, of new weights and of dropout.
        gpu: whether each worker has a GPU.
        checkpoints: path or URL of the folder for checkpoints; None writes none.
        state_in: path or URL of the folder with the optimizer's state of the training before, to go on with; None
            begins anew.
        state_out: path or URL of the folder for the optimizer's state after the last step; None keeps none.
        temperature: at which the answers of a policy gradient were sampled.
    """

    start: StartingWeights
    rows: str
    out: str
    settings: S
    seed: int
    gpu: bool
    workers: TrainersSection
    checkpoints: str | None = None
    state_in: str | None = None
    state_out: str | None = None
    temperature: float = 1.0

    @property
    def sharded(self) -> bool:
        """Whether the workers share one model among them."""
        return self.workers.strategy == "fsdp"


@dataclass(frozen=True, slots=True)
class Worker:
    """One process among those that train together; `on_step` is None on all but the first."""

    rank: int = 0
    count: int = 1
    on_step: OnStep | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What every kind of training reports.

    Attributes:
        files: sha256 of each file of the trained model's folder; empty on all workers but the first.
        tokens: of a pass over the data, or of all passes where the objective packs them.
        seconds: of the training loop alone.
        log: one entry a step: step, loss, margin, accuracy, grad_norm, lr.
    """

    files: dict[str, str]
    steps: int
    tokens: int
    seconds: float
    log: list[dict[str, float]] = field(default_factory=list)
