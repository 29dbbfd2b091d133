"""What is done while the Ray cluster has less than a stage needs: say it, wait, give up or go on with what there is.

The cluster's resources as a whole are looked at, not those that are free: what else is wanted at the same time stands
in the need, and actors that still hold something of an earlier stage are about to end.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection
from rlaif.store.events import Emit, Waiting

T = TypeVar("T")

_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Need:
    """Resources that are needed at once."""

    gpus: int
    cpus: int

    def __add__(self, other: "Need") -> "Need":
        return Need(self.gpus + other.gpus, self.cpus + other.cpus)

    def missing(self) -> str:
        """Return what the cluster lacks of it, as a phrase; "" where it lacks nothing."""
        import ray

        there = ray.cluster_resources()
        wanted = (("GPU", self.gpus), ("CPU", self.cpus))
        return " and ".join(
            f"{count - int(there.get(name, 0))} of {count} {name}s"
            for name, count in wanted
            if there.get(name, 0) < count
        )


@dataclass(frozen=True, slots=True)
class Shortage:
    """How a recipe wants a shortage to be met.

    Attributes:
        minutes: to wait.
        go_on: work with what there is after that, where something can be done with it, instead of giving up.
        emit: takes a `Waiting` for each message.
    """

    minutes: float
    go_on: bool
    emit: Emit

    @classmethod
    def of(cls, cluster: ClusterSection, emit: Emit) -> "Shortage":
        """Return the reaction that a recipe's section asks for."""
        return cls(cluster.wait_minutes, cluster.shortage == "go_on", emit)

    async def wait_for(self, need: Need, what: str) -> None:
        """Wait until the cluster has what is needed at all, telling once what is missing.

        Raises:
            WorkError: it did not come in time, and the recipe does not go on without it.
        """
        await self.watch(asyncio.get_running_loop().create_future(), need, what, until_there=True)

    async def watch(self, coming: "Awaitable[T]", need: Need, what: str, until_there: bool = False) -> T | None:
        """Wait for something that needs resources to come, and tell what is missing for it.

        Args:
            coming: what is waited for.
            need: what the cluster needs to have for it.
            what: a name for it, in the plural.
            until_there: return as soon as the cluster has what is needed.

        Returns:
            What came; None if `until_there`, or if it did not come in time and the recipe goes on without it.

        Raises:
            WorkError: it did not come in time, and the recipe does not go on without it.
        """
        task = asyncio.ensure_future(coming)
        with self.patience(need, what) as patience:
            try:
                while True:
                    over = patience.look()
                    if over or (until_there and not patience.lacks):
                        return None
                    done, _ = await asyncio.wait([task], timeout=_LOOK_SECONDS)
                    if done:
                        return task.result()
            finally:
                task.cancel()

    def patience(self, need: Need, what: str) -> "Patience":
        """Return what tells of a shortage and how long it has lasted; see `watch` for `need` and `what`."""
        return Patience(self, need, what)


class Patience:
    """One wait for resources; a context that asks the autoscaler for them no longer than it is open."""

    def __init__(self, shortage: Shortage, need: Need, what: str) -> None:
        self._shortage, self._need, self._what = shortage, need, what
        self._since: float | None = None
        self._asked = False

    @property
    def lacks(self) -> bool:
        """Whether something was missing at the last look."""
        return self._since is not None

    def look(self) -> bool:
        """Look at the cluster, and tell what is missing the first time that something is.

        Returns:
            Whether it has been missing for too long, and the recipe goes on without it.

        Raises:
            WorkError: it has been missing for too long, and the recipe gives up.
        """
        missing, shortage = self._need.missing(), self._shortage
        message = f"{self._what} need {missing} more than the Ray cluster has"
        if not missing:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
            shortage.emit(Waiting(message=f"waiting up to {shortage.minutes:g} minutes: {message}"))
            _ask_autoscaler(self._need)
            self._asked = True
        elif time.monotonic() > self._since + 60 * shortage.minutes:
            if not shortage.go_on:
                raise WorkError(f"{message}; waited {shortage.minutes:g} minutes (cluster.wait_minutes)")
            shortage.emit(Waiting(message=f"going on with what there is (cluster.shortage): {message}"))
            return True
        return False

    def __enter__(self) -> "Patience":
        return self

    def __exit__(self, *_: object) -> None:
        if self._asked:
            _ask_autoscaler(Need(0, 0))


def fitting(counts: list[tuple[int, int]], there: int) -> list[int]:
    """Return how many of each pool's engines, or of the training's workers, a smaller cluster holds.

    Each gets one, and then whoever is furthest from what it asked for gets the next one that fits.

    Args:
        counts: how many each asks for, and the devices of one.
        there: devices.

    Raises:
        WorkError: not even one of each fits.
    """
    given = [1] * len(counts)
    left = there - sum(devices for _, devices in counts)
    if left < 0:
        raise WorkError(
            f"the cluster's {there} devices do not hold one of each: {', '.join(str(each) for _, each in counts)}"
        )
    while True:
        short = [index for index, (count, devices) in enumerate(counts) if given[index] < count and devices <= left]
        if not short:
            return given
        index = min(short, key=lambda index: given[index] / counts[index][0])
        given[index] += 1
        left -= counts[index][1]


def _ask_autoscaler(need: Need) -> None:
    """Tell Ray's autoscaler, where there is one, what the cluster should have: no actor asks for it yet."""
    import ray
    from ray.autoscaler.sdk import request_resources

    if ray.is_initialized():
        request_resources(bundles=[{"GPU": 1}] * need.gpus + [{"CPU": 1}] * need.cpus)
