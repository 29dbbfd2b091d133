"""The machines that a plan is made for: what is given, what is found here, and what is assumed.

Invariant: every figure that nobody gave has a line among the assumptions that names its source.
"""

import os
from dataclasses import dataclass

from rlaif.errors import UserError
from rlaif.planning.memory import GIB
from rlaif.recipe import Recipe

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


@dataclass(frozen=True, slots=True)
class HardwareOptions:
    """What a person may say of the machines; None leaves it to the recipe, to this machine or to an assumption.

    Attributes:
        gpus, nodes: in the whole cluster.
        gpus_of_nodes: of each node that has any, where they are known one by one; their sum is `gpus`.
        gpu_type: a name in `GPU_TYPES`.
        gpu_memory: GiB of each GPU.
        host_memory, cores: GiB and cores of a CPU node.
        tflops: peak TFLOP/s of each GPU in bfloat16, or of a CPU node in float32.
        bandwidth: memory bandwidth of each GPU in TB/s.
        price: money for a GPU and hour, or for a CPU node and hour.
        source: who said it, where it was no person.
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
        gpu: whether the devices are GPUs.
        devices: how many there are.
        nodes: machines they are in.
        gpus_of_nodes: GPUs of each node.
        cores: of a CPU node.
        memory: bytes of a device.
        free: bytes of it that nothing holds yet.
        flops: peak FLOP/s of a device.
        bandwidth: bytes a second from a device's memory.
        price: money for a device and hour, or None.
        assumptions: one line each.
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


def wants_gpus(recipe: Recipe, options: HardwareOptions) -> tuple[bool, str | None]:
    """Return whether a plan is for GPUs, and the assumption behind it where the recipe leaves it open."""
    cluster = recipe.cluster
    if cluster.device != "auto":
        return cluster.device == "gpu", None
    if options.gpus is not None or options.gpu_type or options.gpu_memory:
        return True, "GPUs, as the options say (cluster.device: auto takes them where the cluster has them)"
    if cluster.training.strategy == "fsdp" or max(cluster.policy.tensor_parallel, cluster.judge.tensor_parallel) > 1:
        return True, "GPUs: the recipe's fsdp or tensor parallelism needs them (cluster.device: auto)"
    if os.path.exists("/dev/nvidia0"):
        return True, "GPUs, since this machine has one (cluster.device: auto)"
    return False, "no GPU: this machine has none and --gpus is not given (cluster.device: auto)"


def describe_hardware(options: HardwareOptions, gpu: bool, needed_gpus: int) -> Hardware:
    """Return the machines of a plan.

    Args:
        options: what is given.
        gpu: as of `wants_gpus`.
        needed_gpus: what the recipe needs, taken where no number is given.

    Raises:
        UserError: an unknown GPU type, or more nodes than GPUs.
    """
    return _gpus(options, needed_gpus) if gpu else _cpus(options)


def _gpus(options: HardwareOptions, needed: int) -> Hardware:
    name = options.gpu_type or "h100"
    if name not in GPU_TYPES:
        raise UserError(f"--gpu-type {name}: unknown; expected one of {', '.join(GPU_TYPES)}")
    gib, tflops, bandwidth = GPU_TYPES[name]
    assumptions = [options.source] if options.source else []
    given = {
        f"{gib:g} GiB a GPU": (options.gpu_memory, "--gpu-memory"),
        f"{tflops:g} TFLOP/s in bfloat16 a GPU": (options.tflops, "--tflops"),
        f"{bandwidth:g} TB/s of memory bandwidth a GPU": (options.bandwidth, "--bandwidth"),
    }
    from_sheet = [f"{text} ({option})" for text, (value, option) in given.items() if value is None]
    if from_sheet:
        chosen = "" if options.gpu_type else "; --gpu-type names another"
        assumptions.append(f"an {name.upper()} by its data sheet{chosen}: {', '.join(from_sheet)}")
    devices = options.gpus or needed
    nodes = options.nodes or -(-devices // _GPUS_PER_NODE)
    if nodes > devices:
        raise UserError(f"--nodes {nodes}: more than the {devices} GPUs; expected at most that")
    if options.gpus is None:
        assumptions.append(f"{devices} GPUs, as many as the recipe needs (--gpus)")
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
        assumptions.append(f"a node like this machine: {cores} cores, {here.total / GIB:.1f} GiB (--host-memory)")
    tflops = options.tflops or cores * _TFLOPS_PER_CORE
    if options.tflops is None:
        assumptions.append(
            f"{tflops * 1000:.0f} GFLOP/s in float32 a node: {_TFLOPS_PER_CORE * 1000:g} a core, "
            "as measured with AVX2 (--tflops)"
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
