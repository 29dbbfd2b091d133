"""Which node's GPUs engines and workers get, as Ray will hand them out.

Ray spreads actors of one GPU over the nodes, packs the placement group of a tensor-parallel engine on one node where
one has room for it and else over several, and packs training workers. The order is that of a run: the policy's engines,
the judge's, then the training. Invariant: no GPU is given twice to what works at the same time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlaif.planning.hardware import Hardware
from rlaif.planning.placement import Role, Seats


@dataclass(frozen=True, slots=True)
class Share:
    """What of a pool falls to something: `count` GPUs of a node, or `count` engines."""

    role: Role
    model: str
    count: int


@dataclass(frozen=True, slots=True)
class NodeUse:
    """What one node's GPUs do.

    Attributes:
        gpus: that the node has.
        engines: GPUs that each pool has of it while engines work.
        workers: training workers.
    """

    gpus: int
    engines: tuple[Share, ...]
    workers: int


@dataclass(frozen=True, slots=True)
class Layout:
    """Where everything goes.

    Attributes:
        nodes: one each, the largest first.
        spanning: engines of each pool that no single node had room for.
    """

    nodes: tuple[NodeUse, ...]
    spanning: tuple[Share, ...]


def lay_out(seats: Sequence[Seats], placement: Literal["shared", "split"], hardware: Hardware) -> Layout:
    """Return the layout of seats that fit the cluster; see `check_together`.

    Args:
        seats: in the order in which a run starts them, the training last.
        placement: whether the training takes turns with the engines.
        hardware: GPUs in nodes.
    """
    free = list(hardware.gpus_of_nodes)
    engines: list[list[Share]] = [[] for _ in free]
    spanning: list[Share] = []
    for seat in seats[:-1]:
        parts = [_take(free, seat.devices_each) for _ in range(seat.count)]
        for node, gpus in sorted(sum(parts, Counter[int]()).items()):
            engines[node].append(Share(seat.role, seat.model, gpus))
        if over_several := sum(len(part) > 1 for part in parts):
            spanning.append(Share(seat.role, seat.model, over_several))
    if placement == "shared":
        free = list(hardware.gpus_of_nodes)
    workers = _pack(free, seats[-1].count)
    nodes = (NodeUse(gpus, tuple(engines[node]), workers[node]) for node, gpus in enumerate(hardware.gpus_of_nodes))
    return Layout(tuple(nodes), tuple(spanning))


def _take(free: list[int], gpus: int) -> Counter[int]:
    """Take the GPUs of one engine, and return how many of each node."""
    if gpus == 1:
        node = max(range(len(free)), key=lambda node: (free[node], -node))
    else:
        roomy = [node for node in range(len(free)) if free[node] >= gpus]
        if not roomy:
            return _pack(free, gpus)
        node = min(roomy, key=lambda node: (free[node], node))
    free[node] -= gpus
    return Counter({node: gpus})


def _pack(free: list[int], gpus: int) -> Counter[int]:
    """Take GPUs from as few nodes as hold them."""
    taken: Counter[int] = Counter()
    for node in sorted(range(len(free)), key=lambda node: (-free[node], node)):
        share = min(free[node], gpus - taken.total())
        if share:
            taken[node] += share
            free[node] -= share
    return taken
