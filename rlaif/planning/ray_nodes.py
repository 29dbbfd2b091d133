"""From what a Ray cluster says of its nodes to the machines of a plan.

Invariant: what a person says outweighs what the cluster says, and what neither says stays open, to be assumed aloud.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rlaif.errors import UserError
from rlaif.planning.hardware import GPU_TYPES, HardwareOptions
from rlaif.planning.memory import GIB

_TYPE = "accelerator_type:"
# Ray names an A100 by its model alone; the smaller one is the safe guess, and `--gpu-type` says better.
_RAY_NAMES = {"a100": "a100-40gb", "a100-40g": "a100-40gb", "a100-80g": "a100-80gb"}


def hardware_of(nodes: Sequence[Mapping[str, Any]], said: HardwareOptions, address: str) -> HardwareOptions:
    """Return what is known of a cluster's machines.

    Args:
        nodes: the resources of each live node: `CPU`, `GPU`, `memory` in bytes, `accelerator_type:NAME`.
        said: what a person says of them.
        address: the cluster's, for messages.

    Raises:
        UserError: the cluster has no nodes, or GPUs of several kinds or of one that no figures are known of.
    """
    if not nodes:
        raise UserError(f"{address}: the Ray cluster has no live nodes")
    gpus = tuple(sorted((int(node["GPU"]) for node in nodes if node.get("GPU", 0) >= 1), reverse=True))
    if not gpus:
        cores = min(int(node.get("CPU", 0)) for node in nodes)
        memory = min(float(node.get("memory", 0)) for node in nodes) / GIB
        return replace(
            said,
            nodes=said.nodes or len(nodes),
            cores=max(1, cores),
            host_memory=said.host_memory or memory or None,
            source=f"{address}: {len(nodes)} nodes without a GPU, the smallest with {cores} CPUs and {memory:.1f} GiB",
        )
    kinds = {key.removeprefix(_TYPE).lower() for node in nodes for key in node if key.startswith(_TYPE)}
    listed = ", ".join(f"{count} x {size}" for size, count in _counted(gpus))
    source = f"{address}: {sum(gpus)} GPUs ({' or '.join(sorted(kinds)) or 'of a kind that Ray does not name'}), "
    source += f"nodes x GPUs: {listed}"
    known = said.gpus is None and said.nodes is None
    return replace(
        said,
        gpus=said.gpus or sum(gpus),
        nodes=said.nodes or (len(gpus) if said.gpus is None else None),
        gpus_of_nodes=gpus if known else (),
        gpu_type=said.gpu_type or _gpu_type(kinds, said, address),
        source=source,
    )


def _gpu_type(kinds: set[str], said: HardwareOptions, address: str) -> str | None:
    names = {_RAY_NAMES.get(kind, kind) for kind in kinds}
    if not names or None not in (said.gpu_memory, said.tflops, said.bandwidth):
        return None
    if len(names) == 1 and names <= GPU_TYPES.keys():
        return next(iter(names))
    raise UserError(
        f"{address}: GPUs of type {', '.join(sorted(kinds))}; expected --gpu-type with the one to plan for "
        f"({', '.join(GPU_TYPES)}), or all of --gpu-memory, --tflops and --bandwidth"
    )


def _counted(gpus: Sequence[int]) -> list[tuple[int, int]]:
    return [(size, gpus.count(size)) for size in dict.fromkeys(gpus)]
