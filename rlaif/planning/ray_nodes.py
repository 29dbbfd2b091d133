"""Describes the machines of a plan by the nodes that a Ray cluster reports.

Invariant: a given option takes precedence over the cluster's report; a figure in neither is left to `hardware`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlaif.errors import UserError
from rlaif.planning.hardware import GPU_TYPES, HardwareOptions
from rlaif.planning.memory import GIB

_TYPE = "accelerator_type:"
# Ray calls an A100 of either size A100; the smaller is the safe guess, and `--gpu-type` overrides it.
_RAY_NAMES = {"a100": "a100-40gb", "a100-40g": "a100-40gb", "a100-80g": "a100-80gb"}


def hardware_of(nodes: Sequence[Mapping[str, Any]], given: HardwareOptions, address: str) -> HardwareOptions:
    """Return the figures of a cluster's machines.

    Args:
        nodes: the resources of each live node: `CPU`, `GPU`, `memory` in bytes, `accelerator_type:NAME`.
        given: figures that take precedence.
        address: of the cluster, for messages.

    Raises:
        UserError: the cluster has no nodes, GPUs of several types, or GPUs of a type without known figures.
    """
    if not nodes:
        raise UserError(f"{address}: the Ray cluster has no live nodes")
    gpus = tuple(sorted((int(node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1), reverse=True))
    if not gpus:
        cores = min(int(node.get("CPU", 0)) for node in nodes)
        memory = min(float(node.get("memory", 0)) for node in nodes) / GIB
        return replace(
            given,
            nodes=given.nodes or len(nodes),
            cores=max(1, cores),
            host_memory=given.host_memory or memory or None,
            source=f"{address}: {len(nodes)} nodes without GPUs, the smallest with {cores} CPUs and {memory:.1f} GiB",
        )
    types = {key.removeprefix(_TYPE).lower() for node in nodes for key in node if key.startswith(_TYPE)}
    sizes = ", ".join(f"{count} x {size}" for size, count in Counter(gpus).items())
    named = " or ".join(sorted(types)) or "of a type that Ray does not name"
    as_reported = given.gpus is None and given.nodes is None
    return replace(
        given,
        gpus=given.gpus or sum(gpus),
        nodes=given.nodes or (len(gpus) if given.gpus is None else None),
        gpus_of_nodes=gpus if as_reported else (),
        gpu_type=given.gpu_type or _gpu_type(types, given, address),
        source=f"{address}: {sum(gpus)} GPUs ({named}), nodes x GPUs: {sizes}",
    )


def _gpu_type(types: set[str], given: HardwareOptions, address: str) -> str | None:
    names = {_RAY_NAMES.get(name, name) for name in types}
    if not names or None not in (given.gpu_memory, given.tflops, given.bandwidth):
        return None
    if len(names) == 1 and names <= GPU_TYPES.keys():
        return next(iter(names))
    raise UserError(
        f"{address}: GPUs of type {', '.join(sorted(types))}; expected --gpu-type with the one to plan for "
        f"({', '.join(GPU_TYPES)}), or all of --gpu-memory, --tflops and --bandwidth"
    )
