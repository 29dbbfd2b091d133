"""Where engines run on a Ray cluster, and what engines and training workers need of it together.

An engine on one GPU is one actor with one GPU. An engine over several is a placement group with a bundle a GPU,
packed on one node where it fits: the actor sits in the first bundle without a GPU of its own, and vLLM's Ray executor
puts a worker into each. On a CPU with `placement: shared` engines and trainer take turns, so engines reserve nothing.
"""

from dataclasses import dataclass
from typing import Any

from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection, EnginesSection


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
    """The engine pools, and the training workers if any, that share a Ray cluster.

    Attributes:
        cluster: the recipe's section.
        gpu: whether they run on GPUs.
        pools: the section of each engine pool.
        trains: whether training workers use the cluster too.
    """

    cluster: ClusterSection
    gpu: bool
    pools: tuple[EnginesSection, ...]
    trains: bool = False

    @property
    def takes_turns(self) -> bool:
        """Whether engines must give up their GPUs while workers train."""
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
        """Return how many engines of each pool the cluster has room for now; all of them where nothing is missing.

        Raises:
            WorkError: the cluster has not even room for one of each.
        """
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
