"""The engines of a pool, or the training's workers, on their devices; and whether all of them fit the machines.

`run_seats` makes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.errors import UserError
from rlaif.models.shape import ModelShape
from rlaif.planning.hardware import Hardware
from rlaif.planning.memory import Memory, gib
from rlaif.recipe import ClusterSection

Role = Literal["policy", "judge", "training"]


@dataclass(frozen=True, slots=True)
class Seats:
    """The engines of one pool, or the workers of the training.

    Attributes:
        role, model, shape: their purpose, the model whose weights they hold, and its shape.
        count: engines or workers.
        devices_each: GPUs of each; 1 on a CPU.
        strategy: `tp N` for engines, `ddp` or `fsdp` for workers.
        memory: what each takes on each of its devices.
        allowed: bytes of a device that it may take.
        dtype_bytes: bytes of a weight.
        kv_bytes_per_token: of an engine over all its devices; 0 for workers.
        kv_tokens: tokens that an engine's KV cache holds; 0 for workers.
    """

    role: Role
    model: str
    shape: ModelShape
    count: int
    devices_each: int
    strategy: str
    memory: Memory
    allowed: int
    dtype_bytes: int
    kv_bytes_per_token: int = 0
    kv_tokens: int = 0

    @property
    def devices(self) -> int:
        """Devices of all together."""
        return self.count * self.devices_each


def gpus_needed(cluster: ClusterSection, judge_pools: int) -> int:
    """Return the GPUs that a run needs, with `judge_pools` pools of judge engines besides the policy's.

    Engines and training need the larger of their shares with `placement: shared`, else the sum.
    """
    engines = cluster.policy.engines * cluster.policy.tensor_parallel
    engines += judge_pools * cluster.judge.engines * cluster.judge.tensor_parallel
    workers = cluster.training.workers
    return max(engines, workers) if cluster.placement == "shared" else engines + workers


def check_seats(seats: Sequence[Seats], placement: Literal["shared", "split"], hardware: Hardware) -> None:
    """Check that all seats together, the training's last, fit the machines.

    On a CPU engines stay loaded while the trainer works, so a node holds all of them at once.

    Raises:
        UserError: they need more devices, or more of a node's memory, than there is.
    """
    if not hardware.gpu:
        total = sum(seat.memory.total * hardware.per_node(seat.count) for seat in seats)
        if total > hardware.free:
            each = ", ".join(f"{gib(seat.memory.total)} for {seat.role}" for seat in seats)
            raise UserError(
                f"cluster: a node needs {gib(total)} ({each}), but only {gib(hardware.free)} are free; "
                "expected a smaller model, fewer engines or workers, or a smaller cluster.policy.kv_cache_gib"
            )
        return
    engines, workers = sum(seat.devices for seat in seats[:-1]), seats[-1].devices
    needed = max(engines, workers) if placement == "shared" else engines + workers
    if needed > hardware.devices:
        how = "at once" if placement == "shared" else "together (cluster.placement: split)"
        raise UserError(
            f"cluster: engines need {engines} GPUs and training {workers}, {needed} {how}, "
            f"but there are {hardware.devices}; expected fewer engines or workers, or more GPUs"
        )
