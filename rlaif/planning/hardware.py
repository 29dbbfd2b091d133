"""The machines of a plan: given by options, else reported by a Ray cluster, found on this machine, or assumed.

Invariant: every figure that was not given has a line among the assumptions, which names its source.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlaif.errors import UserError
from rlaif.planning.memory import GIB
from rlaif.recipe import ClusterSection

# Usable memory in GiB, dense bfloat16 TFLOP/s and memory bandwidth in TB/s, from NVIDIA's data sheets.
GPU_TYPES: dict[str, tuple[float, float, float]] = {
    "h100": (79.0, 989.0, 3.35),
    "h200": (139.0, 989.0, 4.8),
    "a100-80gb": (79.0, 312.0, 2.04),
    "a100-40gb": (39.0, 312.0, 1.56),
    "l40s": (44.0, 362.0, 0.86),
    "a10g": (22.0, 70.0, 0.6),
    "l4": (22.0, 121.0, 0.3),
}
_GPUS_PER_NODE = 8
# Measured: float32 matrix products on two AVX2 cores, 135 GFLOP/s.
_TFLOPS_PER_CORE = 0.0675
_CPU_BANDWIDTH = 0.02
_RAY_TYPE = "accelerator_type:"
# Ray calls an A100 of either size A100; the smaller is the safe guess, and `--gpu-type` overrides it.
_RAY_NAMES = {"a100": "a100-40gb", "a100-40g": "a100-40gb", "a100-80g": "a100-80gb"}


@dataclass(frozen=True, slots=True)
class HardwareOptions:
    """The given figures of the machines; None takes the recipe's, this machine's or an assumed one.

    Attributes:
        gpus, nodes: in the whole cluster.
        gpu_memory: GiB of each GPU.
        host_memory: GiB of a CPU node.
        tflops: peak TFLOP/s of each GPU in bfloat16, or of a CPU node in float32.
        bandwidth: memory bandwidth of each GPU in TB/s.
        price: money per hour for a GPU, or for a CPU node.
        gpus_of_nodes: of each node with GPUs, if known; their sum is `gpus`.
        cores: of a CPU node.
        source: the Ray cluster that reported the figures, if one did.
    """

    gpus: int | None = None
    nodes: int | None = None
    gpu_type: str | None = None
    gpu_memory: float | None = None
    host_memory: float | None = None
    tflops: float | None = None
    bandwidth: float | None = None
    price: float | None = None
    gpus_of_nodes: tuple[int, ...] = ()
    cores: int | None = None
    source: str | None = None


@dataclass(frozen=True, slots=True)
class Hardware:
    """The devices of a plan: GPUs, or the nodes of a CPU cluster.

    Attributes:
        cores: of a CPU node.
        memory: bytes of a device.
        free: bytes of it that are not in use yet.
        flops: peak FLOP/s of a device.
        bandwidth: bytes per second from a device's memory.
        price: money per device and hour.
    """

    gpu: bool
    devices: int
    nodes: int
    gpus_of_nodes: tuple[int, ...]
    cores: int
    memory: int
    free: int
    flops: float
    bandwidth: float
    price: float | None
    assumptions: tuple[str, ...]

    def per_node(self, count: int) -> int:
        """Return how many of `count` processes share a node's memory; a process on a GPU has its own."""
        return 1 if self.gpu else -(-count // self.nodes)

    def share(self, count: int) -> int:
        """Return the bytes that each of `count` processes may take of its device."""
        return self.memory if self.gpu else self.free // self.per_node(count)


def wants_gpus(cluster: ClusterSection, options: HardwareOptions) -> tuple[bool, str | None]:
    """Return whether a plan is for GPUs, and the reason if the recipe leaves the device open."""
    if cluster.device != "auto":
        return cluster.device == "gpu", None
    if options.gpus is not None or options.gpu_type or options.gpu_memory:
        return True, "GPUs, because of the options given (cluster.device: auto)"
    if cluster.training.strategy == "fsdp" or max(cluster.policy.tensor_parallel, cluster.judge.tensor_parallel) > 1:
        return True, "GPUs, because the recipe uses fsdp or tensor parallelism (cluster.device: auto)"
    if os.path.exists("/dev/nvidia0"):
        return True, "GPUs, because this machine has one (cluster.device: auto)"
    return False, "no GPUs, because this machine has none (cluster.device: auto; --gpus)"


def describe_hardware(options: HardwareOptions, gpu: bool, needed_gpus: int) -> Hardware:
    """Return the machines of a plan; `needed_gpus` is the number of GPUs if none is given."""
    return _gpus(options, needed_gpus) if gpu else _cpus(options)


def _gpus(options: HardwareOptions, needed: int) -> Hardware:
    name = options.gpu_type or "h100"
    if name not in GPU_TYPES:
        raise UserError(f"--gpu-type {name}: unknown; expected one of {', '.join(GPU_TYPES)}")
    gib, tflops, bandwidth = GPU_TYPES[name]
    assumptions = [options.source] if options.source else []
    figures = {
        f"{gib:g} GiB (--gpu-memory)": options.gpu_memory,
        f"{tflops:g} TFLOP/s in bfloat16 (--tflops)": options.tflops,
        f"{bandwidth:g} TB/s of memory bandwidth (--bandwidth)": options.bandwidth,
    }
    if from_sheet := [text for text, given in figures.items() if given is None]:
        other = "" if options.gpu_type else " (another: --gpu-type)"
        assumptions.append(f"each GPU is an {name.upper()}{other}, by its data sheet: {', '.join(from_sheet)}")
    devices = options.gpus or needed
    nodes = options.nodes or -(-devices // _GPUS_PER_NODE)
    if nodes > devices:
        raise UserError(f"--nodes {nodes}: more than the {devices} GPUs; expected at most {devices}")
    if options.gpus is None:
        assumptions.append(f"{devices} GPUs, the number that the recipe needs (--gpus)")
    memory = int((options.gpu_memory or gib) * GIB)
    even, more = divmod(devices, nodes)
    return Hardware(
        gpu=True,
        devices=devices,
        nodes=nodes,
        gpus_of_nodes=options.gpus_of_nodes or (even + 1,) * more + (even,) * (nodes - more),
        cores=0,
        memory=memory,
        free=memory,
        flops=(options.tflops or tflops) * 1e12,
        bandwidth=(options.bandwidth or bandwidth) * 1e12,
        price=options.price,
        assumptions=tuple(assumptions),
    )


def _cpus(options: HardwareOptions) -> Hardware:
    import psutil

    cores = options.cores or len(os.sched_getaffinity(0))
    here = psutil.virtual_memory()
    assumptions = [options.source] if options.source else []
    if options.host_memory is None:
        assumptions.append(f"each node is like this machine: {cores} cores, {here.total / GIB:.1f} GiB (--host-memory)")
    tflops = options.tflops or cores * _TFLOPS_PER_CORE
    if options.tflops is None:
        assumptions.append(
            f"{tflops * 1000:.0f} GFLOP/s in float32 per node: {_TFLOPS_PER_CORE * 1000:g} per core, "
            "measured with AVX2 (--tflops)"
        )
    memory = int(options.host_memory * GIB) if options.host_memory else here.total
    return Hardware(
        gpu=False,
        devices=options.nodes or 1,
        nodes=options.nodes or 1,
        gpus_of_nodes=(),
        cores=cores,
        memory=memory,
        free=int(memory * 0.9) if options.host_memory else here.available,
        flops=tflops * 1e12,
        bandwidth=(options.bandwidth or _CPU_BANDWIDTH) * 1e12,
        price=options.price,
        assumptions=tuple(assumptions),
    )


def hardware_of(nodes: Sequence[Mapping[str, Any]], given: HardwareOptions, address: str) -> HardwareOptions:
    """Return the figures of a cluster's machines.

    Args:
        nodes: the resources of each live node: `CPU`, `GPU`, `memory` in bytes, `accelerator_type:NAME`.
        given: figures that take precedence.
        address: of the cluster, for messages.
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
    types = {key.removeprefix(_RAY_TYPE).lower() for node in nodes for key in node if key.startswith(_RAY_TYPE)}
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
