"""What engines and training workers need of a Ray cluster, where they run on it, and the wait for what it lacks.

An engine on one GPU is one actor with one GPU. An engine over several is a placement group with a bundle a GPU,
packed on one node where it fits: the actor sits in the first bundle without a GPU of its own, and vLLM's Ray executor
puts a worker into each. On a CPU with `placement: shared` engines and trainer take turns, so engines reserve nothing.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection, EnginesSection
from rlaif.store.events import Emit, Waiting

T = TypeVar("T")

_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Resources:
    """GPUs and CPUs that are needed at once."""

    gpus: int = 0
    cpus: int = 0

    def __add__(self, other: "Resources") -> "Resources":
        return Resources(self.gpus + other.gpus, self.cpus + other.cpus)

    def missing(self) -> str:
        """Return what the Ray cluster as a whole lacks, as a phrase; "" where it lacks nothing."""
        import ray

        has = ray.cluster_resources()
        wanted = (("GPU", self.gpus), ("CPU", self.cpus))
        return " and ".join(
            f"{count - int(has.get(name, 0))} of {count} {name}s" for name, count in wanted if has.get(name, 0) < count
        )


@dataclass(frozen=True, slots=True)
class ClusterDemand:
    """The engine pools, and the training workers if `trains`, that share a Ray cluster."""

    cluster: ClusterSection
    gpu: bool
    pools: tuple[EnginesSection, ...]
    trains: bool = False

    @property
    def takes_turns(self) -> bool:
        """Whether engines must give up their GPUs while workers train, since both share them."""
        return self.gpu and self.cluster.placement == "shared"

    @property
    def sampling(self) -> Resources:
        """What must be there while engines work; with `placement: split` the training workers keep their share."""
        return self._engines + self._workers if self._split else self._engines

    @property
    def training(self) -> Resources:
        """What must be there while workers train; with `placement: split` the engines keep their share."""
        return self._engines + self._workers if self._split else self._workers

    def engine_counts(self) -> list[int]:
        """Return how many engines of each pool the cluster has room for now; all of them where nothing is missing."""
        import ray

        asked = [(pool.engines, self._devices(pool)) for pool in self.pools]
        if not self.sampling.missing():
            return [count for count, _ in asked]
        if self._split and self.trains:
            asked.append((self.cluster.training.workers, 1))
        devices = int(ray.cluster_resources().get("GPU" if self.gpu else "CPU", 0))
        return share_devices(asked, devices)[: len(self.pools)]

    def actor_options(self, pool: EnginesSection) -> dict[str, Any]:
        """Return Ray's options for the actor of one engine, and reserve its placement group where it needs one."""
        if not self.gpu:
            return {"num_cpus": self._devices(pool), "scheduling_strategy": "SPREAD"}
        if pool.tensor_parallel == 1:
            return {"num_gpus": 1, "num_cpus": 1, "scheduling_strategy": "SPREAD"}
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        group = placement_group([{"GPU": 1.0, "CPU": 1.0}] * pool.tensor_parallel, strategy="PACK")
        strategy = PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_capture_child_tasks=True, placement_group_bundle_index=0
        )
        return {"num_gpus": 0, "num_cpus": 0, "scheduling_strategy": strategy}

    @property
    def _split(self) -> bool:
        return self.cluster.placement == "split"

    def _devices(self, pool: EnginesSection) -> int:
        """Return the GPUs, or without GPUs the CPUs, that one engine reserves."""
        return pool.tensor_parallel if self.gpu else int(self._split)

    @property
    def _engines(self) -> Resources:
        devices = sum(pool.engines * self._devices(pool) for pool in self.pools)
        return Resources(gpus=devices) if self.gpu else Resources(cpus=devices)

    @property
    def _workers(self) -> Resources:
        workers = self.cluster.training.workers if self.trains else 0
        return Resources(workers if self.gpu else 0, workers)


def share_devices(asked: list[tuple[int, int]], devices: int) -> list[int]:
    """Return how many engines of each pool, and training workers, a cluster that is too small has room for.

    Each gets one; then whoever is furthest from what it asked for gets the next one that fits.

    Args:
        asked: how many each asks for, and the devices of one.
        devices: of the cluster.

    Raises:
        WorkError: not even one of each fits.
    """
    given = [1] * len(asked)
    left = devices - sum(each for _, each in asked)
    if left < 0:
        each = ", ".join(str(each) for _, each in asked)
        raise WorkError(f"the cluster's {devices} devices do not hold one of each: {each}")
    while True:
        short = [index for index, (count, each) in enumerate(asked) if given[index] < count and each <= left]
        if not short:
            return given
        index = min(short, key=lambda index: given[index] / asked[index][0])
        given[index] += 1
        left -= asked[index][1]


class ResourceWait:
    """One wait for resources; a context that asks the autoscaler for them no longer than it is open.

    The cluster's total resources count, not those that are free: actors of an earlier stage are about to end, and
    whatever else works at the same time is part of what is needed.

    Args:
        cluster: how long to wait, and whether to go on without what is missing.
        resources: what is needed.
        who: needs them, in the plural; for messages.
        emit: takes a `Waiting` for each message.
    """

    def __init__(self, cluster: ClusterSection, resources: Resources, who: str, emit: Emit) -> None:
        self._cluster, self._resources, self._who, self._emit = cluster, resources, who, emit
        self._since: float | None = None
        self._asked = False

    async def until_there(self) -> None:
        """Wait until the cluster has the resources, or until the wait is over."""
        with self:
            while not self.over() and self._since is not None:
                await asyncio.sleep(_LOOK_SECONDS)

    async def watch(self, coming: "Awaitable[T]") -> T | None:
        """Await what needs the resources; None if it did not come in time and the recipe goes on without it."""
        task = asyncio.ensure_future(coming)
        try:
            with self:
                while not self.over():
                    done, _ = await asyncio.wait([task], timeout=_LOOK_SECONDS)
                    if done:
                        return task.result()
            return None
        finally:
            task.cancel()

    def over(self) -> bool:
        """Report a shortage once; return whether it has lasted too long and the recipe goes on without what is missing.

        Raises:
            WorkError: it has been missing for too long, and the recipe gives up.
        """
        missing, minutes = self._resources.missing(), self._cluster.wait_minutes
        message = f"{self._who} need {missing} more than the Ray cluster has"
        if not missing:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
            self._emit(Waiting(message=f"waiting up to {minutes:g} minutes: {message}"))
            _ask_autoscaler(self._resources)
            self._asked = True
        elif time.monotonic() > self._since + 60 * minutes:
            if self._cluster.shortage == "give_up":
                raise WorkError(f"{message}; waited {minutes:g} minutes (cluster.wait_minutes)")
            self._emit(Waiting(message=f"continuing with the resources there are (cluster.shortage): {message}"))
            return True
        return False

    def __enter__(self) -> "ResourceWait":
        return self

    def __exit__(self, *_: object) -> None:
        if self._asked:
            _ask_autoscaler(Resources())


def _ask_autoscaler(resources: Resources) -> None:
    """Ask Ray's autoscaler, where there is one, for resources that no actor asks for yet."""
    import ray
    from ray.autoscaler.sdk import request_resources

    if ray.is_initialized():
        request_resources(bundles=[{"GPU": 1}] * resources.gpus + [{"CPU": 1}] * resources.cpus)
