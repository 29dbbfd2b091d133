"""What is done while the Ray cluster has less than a stage needs: report it, wait, then give up or go on.

The cluster's total resources count, not those that are free: actors of an earlier stage are about to end, and whatever
else works at the same time is part of what is needed.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from rlaif.cluster.placement import Resources
from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection
from rlaif.store.events import Emit, Waiting

T = TypeVar("T")

_LOOK_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class ShortageRule:
    """How a recipe wants a shortage to be handled.

    Attributes:
        minutes: to wait.
        go_on: afterwards, work with the resources at hand instead of giving up.
        emit: takes a `Waiting` for each message.
    """

    minutes: float
    go_on: bool
    emit: Emit

    @classmethod
    def of(cls, cluster: ClusterSection, emit: Emit) -> "ShortageRule":
        """Return the rule of a recipe's section."""
        return cls(cluster.wait_minutes, cluster.shortage == "go_on", emit)

    async def wait_for(self, resources: Resources, who: str) -> None:
        """Wait until the cluster has the resources.

        Args:
            resources: what is needed.
            who: needs them, in the plural; for messages.

        Raises:
            WorkError: they did not come in time, and the recipe does not go on without them.
        """
        with self.wait(resources, who) as wait:
            while not wait.over() and wait.lacks:
                await asyncio.sleep(_LOOK_SECONDS)

    async def watch(self, coming: "Awaitable[T]", resources: Resources, who: str) -> T | None:
        """Await something that needs resources, and report what it lacks; see `wait_for`.

        Returns:
            What came; None if it did not come in time and the recipe goes on without it.
        """
        task = asyncio.ensure_future(coming)
        try:
            with self.wait(resources, who) as wait:
                while not wait.over():
                    done, _ = await asyncio.wait([task], timeout=_LOOK_SECONDS)
                    if done:
                        return task.result()
            return None
        finally:
            task.cancel()

    def wait(self, resources: Resources, who: str) -> "ResourceWait":
        """Return one wait for resources; see `wait_for`."""
        return ResourceWait(self, resources, who)


class ResourceWait:
    """One wait for resources; a context that asks the autoscaler for them no longer than it is open."""

    def __init__(self, rule: ShortageRule, resources: Resources, who: str) -> None:
        self._rule, self._resources, self._who = rule, resources, who
        self._since: float | None = None
        self._asked = False

    @property
    def lacks(self) -> bool:
        """Whether something was missing at the last look."""
        return self._since is not None

    def over(self) -> bool:
        """Look at the cluster, and report what is missing the first time that something is.

        Returns:
            Whether it has been missing for too long, and the recipe goes on without it.

        Raises:
            WorkError: it has been missing for too long, and the recipe gives up.
        """
        missing, rule = self._resources.missing(), self._rule
        message = f"{self._who} need {missing} more than the Ray cluster has"
        if not missing:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
            rule.emit(Waiting(message=f"waiting up to {rule.minutes:g} minutes: {message}"))
            _ask_autoscaler(self._resources)
            self._asked = True
        elif time.monotonic() > self._since + 60 * rule.minutes:
            if not rule.go_on:
                raise WorkError(f"{message}; waited {rule.minutes:g} minutes (cluster.wait_minutes)")
            rule.emit(Waiting(message=f"going on with what there is (cluster.shortage): {message}"))
            return True
        return False

    def __enter__(self) -> "ResourceWait":
        return self

    def __exit__(self, *_: object) -> None:
        if self._asked:
            _ask_autoscaler(Resources())


def _ask_autoscaler(resources: Resources) -> None:
    """Ask Ray's autoscaler, where there is one, for resources that no actor asks for yet."""
    import ray
    from ray.autoscaler.sdk import request_resources

    if ray.is_initialized():
        request_resources(bundles=[{"GPU": 1}] * resources.gpus + [{"CPU": 1}] * resources.cpus)
