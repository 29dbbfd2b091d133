"""Where an engine may run: Ray's resources and placement groups, and the wait for them.

An engine on one GPU is one actor with one GPU. An engine over several is a placement group with a bundle a GPU,
packed on one node where it fits: the actor sits in the first bundle without a GPU of its own, and vLLM's Ray executor
puts a worker into each. On a CPU with `placement: shared` engines and trainer take turns, so engines reserve nothing.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection, EnginesSection, Recipe


@dataclass(frozen=True, slots=True)
class Need:
    """Resources that a stage needs at once."""

    gpus: int
    cpus: int


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


def engines_need(recipe: Recipe, gpu: bool, judge_pools: int) -> Need:
    """Return what the engines of a run need together, with `judge_pools` models of the judge's own."""
    cluster = recipe.cluster
    sections = [cluster.policy, *([cluster.judge] * judge_pools)]
    if gpu:
        return Need(sum(section.engines * section.tensor_parallel for section in sections), 0)
    return Need(0, 0 if cluster.placement == "shared" else sum(section.engines for section in sections))


def training_need(cluster: ClusterSection, gpu: bool) -> Need:
    """Return what the training workers need together."""
    return Need(cluster.training.workers if gpu else 0, cluster.training.workers)


async def wait_for(need: Need, minutes: float, tell: Callable[[str], None], what: str) -> None:
    """Wait until the cluster has the resources at all, telling once what is missing.

    Raises:
        WorkError: they did not come in time.
    """
    import ray

    deadline = time.monotonic() + 60 * minutes
    told = False
    while True:
        there = ray.cluster_resources()
        missing = [
            f"{wanted - int(there.get(name, 0))} of {wanted} {name}s"
            for name, wanted in (("GPU", need.gpus), ("CPU", need.cpus))
            if there.get(name, 0) < wanted
        ]
        if not missing:
            return
        message = f"{what} need {' and '.join(missing)} more than the Ray cluster has"
        if time.monotonic() > deadline:
            raise WorkError(f"{message}; waited {minutes:g} minutes (cluster.wait_minutes)")
        if not told:
            tell(f"waiting up to {minutes:g} minutes: {message}")
            told = True
        await asyncio.sleep(2)
