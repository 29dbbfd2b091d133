"""Where an engine may run: Ray's resources and placement groups.

An engine on one GPU is one actor with one GPU. An engine over several is a placement group with a bundle a GPU,
packed on one node where it fits: the actor sits in the first bundle without a GPU of its own, and vLLM's Ray executor
puts a worker into each. On a CPU with `placement: shared` engines and trainer take turns, so engines reserve nothing.
"""

from collections.abc import Sequence
from typing import Any, Literal

from rlaif.cluster.shortage import Need, fitting
from rlaif.recipe import ClusterSection, EnginesSection


def bundles(section: EnginesSection) -> list[dict[str, float]]:
    """Return the placement group's bundles of one tensor-parallel engine."""
    return [{"GPU": 1.0, "CPU": 1.0} for _ in range(section.tensor_parallel)]


def actor_options(section: EnginesSection, gpu: bool, placement: Literal["shared", "split"]) -> dict[str, Any]:
    """Return Ray's options for the actor of one engine, reserving its placement group where it needs one."""
    if not gpu:
        return {"num_cpus": 0 if placement == "shared" else 1, "scheduling_strategy": "SPREAD"}
    if section.tensor_parallel == 1:
        return {"num_gpus": 1, "num_cpus": 1, "scheduling_strategy": "SPREAD"}
    from ray.util.placement_group import placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    group = placement_group(bundles(section), strategy="PACK")
    return {
        "num_gpus": 0,
        "num_cpus": 0,
        "scheduling_strategy": PlacementGroupSchedulingStrategy(
            placement_group=group, placement_group_capture_child_tasks=True, placement_group_bundle_index=0
        ),
    }


def engine_devices(section: EnginesSection, gpu: bool, placement: Literal["shared", "split"]) -> int:
    """Return the GPUs, or without GPUs the CPUs, that one engine of a pool reserves."""
    return section.tensor_parallel if gpu else int(placement == "split")


def engines_need(sections: Sequence[EnginesSection], gpu: bool, placement: Literal["shared", "split"]) -> Need:
    """Return what the engines of pools need together."""
    devices = sum(section.engines * engine_devices(section, gpu, placement) for section in sections)
    return Need(devices if gpu else 0, 0 if gpu else devices)


def training_need(cluster: ClusterSection, gpu: bool) -> Need:
    """Return what the training workers need together."""
    return Need(cluster.training.workers if gpu else 0, cluster.training.workers)


def engines_held(
    sections: Sequence[EnginesSection], gpu: bool, placement: Literal["shared", "split"], need: Need, workers: int = 0
) -> list[int]:
    """Return how many engines of each pool the cluster holds as it is.

    Args:
        sections: of the pools.
        gpu: whether engines run on GPUs.
        placement: the recipe's.
        need: of everything; where the cluster has it, the pools get what they ask for.
        workers: training workers that work at the same time.

    Raises:
        WorkError: the cluster does not even hold one of each.
    """
    import ray

    asked = [(section.engines, engine_devices(section, gpu, placement)) for section in sections]
    if not need.missing():
        return [count for count, _ in asked]
    if workers:
        asked.append((workers, 1))
    return fitting(asked, int(ray.cluster_resources().get("GPU" if gpu else "CPU", 0)))[: len(sections)]
