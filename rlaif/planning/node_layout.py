"""Which node's GPUs engines and workers get, as Ray will assign them.

Ray spreads actors of one GPU over the nodes, packs the placement group of a tensor-parallel engine on one node if
one has room for it and otherwise on several, and packs training workers. The order is that of a run: the policy's
engines, the judges', then the training. Invariant: no GPU is given to two processes that work at the same time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlaif.planning.hardware import Hardware
from rlaif.planning.seats import Placement, Role, Seats


@dataclass(frozen=True, slots=True)
class Share:
    """A pool's `count` GPUs of a node, or `count` of its engines."""

    role: Role
    model: str
    count: int


@dataclass(frozen=True, slots=True)
class NodeUse:
    """The use of one node's GPUs: by each pool while engines work, and by training workers."""

    gpus: int
    engines: tuple[Share, ...]
    workers: int


@dataclass(frozen=True, slots=True)
class NodeLayout:
    """The use of all nodes, the largest first, and each pool's engines that fit on no single node (`spanning`)."""

    nodes: tuple[NodeUse, ...]
    spanning: tuple[Share, ...]


def lay_out(seats: Sequence[Seats], placement: Placement, hardware: Hardware) -> NodeLayout:
    """Return the layout of seats that fit the cluster (`check_seats`), given as `place_run` orders them."""
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
    return NodeLayout(tuple(nodes), tuple(spanning))


def _take(free: list[int], gpus: int) -> Counter[int]:
    """Take the GPUs of one engine, and return how many of each node."""
    roomy = [node for node in range(len(free)) if free[node] >= gpus]
    if not roomy:
        return _pack(free, gpus)
    choose = max if gpus == 1 else min
    node = choose(roomy, key=free.__getitem__)
    free[node] -= gpus
    return Counter({node: gpus})


def _pack(free: list[int], gpus: int) -> Counter[int]:
    """Take GPUs from as few nodes as possible."""
    taken: Counter[int] = Counter()
    for node in sorted(range(len(free)), key=free.__getitem__, reverse=True):
        share = min(free[node], gpus - taken.total())
        if share:
            taken[node] += share
            free[node] -= share
    return taken
