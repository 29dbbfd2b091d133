"""What is done while the Ray cluster has less than a stage needs: report it, wait, then give up or go on.

The cluster's total resources count, not those that are free: actors of an earlier stage are about to end, and whatever
else works at the same time is part of what is needed.
"""

import asyncio
import time
from collections.abc import Awaitable
from typing import TypeVar

from rlaif.cluster.placement import Resources
from rlaif.errors import WorkError
from rlaif.recipe import ClusterSection
from rlaif.store.events import Emit, Waiting

T = TypeVar("T")

_LOOK_SECONDS = 2.0


class ResourceWait:
    """One wait for resources; a context that asks the autoscaler for them no longer than it is open.

    Args:
        cluster: the recipe's section: how long to wait, and whether to go on without what is missing.
        resources: what is needed.
        who: needs them, in the plural; for messages.
        emit: takes a `Waiting` for each message.
    """

    def __init__(self, cluster: ClusterSection, resources: Resources, who: str, emit: Emit) -> None:
        self._cluster, self._resources, self._who, self._emit = cluster, resources, who, emit
        self._since: float | None = None
        self._asked = False

    async def until_there(self) -> None:
        """Wait until the cluster has the resources.

        Raises:
            WorkError: they did not come in time, and the recipe does not go on without them.
        """
        with self:
            while not self.over() and self._since is not None:
                await asyncio.sleep(_LOOK_SECONDS)

    async def watch(self, coming: "Awaitable[T]") -> T | None:
        """Await something that needs the resources, and report what is missing; see `until_there`.

        Returns:
            What came; None if it did not come in time and the recipe goes on without it.
        """
        task = asyncio.ensure_future(coming)
        try:
            with self:
                while not self.over():
                    done, _ = await asyncio.wait([task], timeout=_LOOK_SECONDS)
                    if done:
                        return task.result()
            return None
        finally:
            task.cancel()

    def over(self) -> bool:
        """Look at the cluster, and report what is missing the first time that something is.

        Returns:
            Whether it has been missing for too long, and the recipe goes on without it.

        Raises:
            WorkError: it has been missing for too long, and the recipe gives up.
        """
        missing, minutes = self._resources.missing(), self._cluster.wait_minutes
        message = f"{self._who} need {missing} more than the Ray cluster has"
        if not missing:
            self._since = None
        elif self._since is None:
            self._since = time.monotonic()
            self._emit(Waiting(message=f"waiting up to {minutes:g} minutes: {message}"))
            _ask_autoscaler(self._resources)
            self._asked = True
        elif time.monotonic() > self._since + 60 * minutes:
            if self._cluster.shortage == "give_up":
                raise WorkError(f"{message}; waited {minutes:g} minutes (cluster.wait_minutes)")
            self._emit(Waiting(message=f"going on with what there is (cluster.shortage): {message}"))
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
