"""One slot of an engine pool, and the actor in it: started, replaced when it dies, given new weights, released.

Invariant: an engine that replaces a dead one has the pool's current weights before it gets a request.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from rlaif.cluster.resources import ClusterDemand, ResourceWait
from rlaif.errors import WorkError, first_line
from rlaif.inference.vllm.actor import EngineSpec, remote_engine
from rlaif.inference.vllm.probe import ProbeResult
from rlaif.store.events import Emit, EngineLost
from rlaif.store.policy_weights import PolicyWeights

# An engine whose node dies while it starts is started elsewhere this often.
_STARTS = 3


class EngineDied(Exception):
    """An engine died with a request in flight."""


class EngineSlot:
    """One engine of a pool.

    Args:
        weights: returns what the engine must answer with.

    Attributes:
        in_flight: requests that the engine is working on.
    """

    def __init__(
        self, number: int, spec: EngineSpec, demand: ClusterDemand, *, weights: Callable[[], PolicyWeights], emit: Emit
    ) -> None:
        self.number, self.in_flight = number, 0
        self._spec, self._demand = spec, demand
        self._weights, self._emit = weights, emit
        self._deaths = 0
        self._actor: Any = None
        self._group: Any = None
        self._starting: asyncio.Task[None] | None = None

    @property
    def occupied(self) -> bool:
        """Whether an engine is there or starting."""
        return self._actor is not None

    @property
    def ready(self) -> bool:
        """Whether the engine can answer now."""
        task = self._starting
        return task is not None and task.done() and not task.cancelled() and not task.exception()

    def start(self) -> None:
        """Start an engine; `wait_ready` waits for it."""
        self._new_actor()
        self._starting = asyncio.get_running_loop().create_task(self._make_ready())

    async def wait_ready(self) -> None:
        """Wait for the engine that `start` started, if it did; raises WorkError with the reason if it cannot."""
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def call(self, call: Callable[[Any], Any]) -> Any:
        """Return what the engine answers to a remote call of its actor.

        Raises:
            EngineDied: the engine died, and another is starting.
            WorkError: the call failed.
        """
        from ray.exceptions import RayTaskError

        self.in_flight += 1
        try:
            return await self._call(call)
        except RayTaskError as error:
            raise WorkError(f"a {self._spec.role} engine failed: {error.cause}") from error
        finally:
            self.in_flight -= 1

    async def update(self) -> ProbeResult | None:
        """Give the engine the current weights; see `WeightLoader.load`."""
        try:
            result: ProbeResult | None = await self._call(self._load)
            return result
        except EngineDied:
            # The engine that replaces it has loaded and checked them.
            await self.wait_ready()
            return None

    async def _call(self, call: Callable[[Any], Any]) -> Any:
        from ray.exceptions import RayActorError

        await self.wait_ready()
        actor = self._actor
        if actor is None:
            raise EngineDied("there was no room for another")
        try:
            return await call(actor)
        except RayActorError as error:
            if self._actor is actor:  # Else another request has replaced it already.
                self._report_loss(error)
                self.start()
            raise EngineDied(first_line(error)) from error

    def release(self) -> None:
        """Give the engine's resources back."""
        import ray

        if self._starting is not None:
            self._starting.cancel()
        if self._actor is not None:
            ray.kill(self._actor)
        self._remove_group()
        self._actor = self._starting = None

    def _new_actor(self) -> None:
        import ray

        self._remove_group()
        options = self._demand.actor_options(self._spec.section)
        self._group = getattr(options.get("scheduling_strategy"), "placement_group", None)
        on_node = 1
        if not self._spec.gpu:
            nodes = sum(node["Alive"] for node in ray.nodes())
            on_node = -(-self._spec.section.engines // max(1, nodes))
        self._actor = remote_engine(options).remote(self._spec, on_node)

    def _remove_group(self) -> None:
        from ray.util.placement_group import remove_placement_group

        if self._group is not None:
            remove_placement_group(self._group)
            self._group = None

    async def _make_ready(self) -> None:
        """Wait until the engine can answer with the current weights; without room for it, leave the slot empty."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        role, demand = self._spec.role, self._demand
        for start in range(1, _STARTS + 1):
            try:
                coming = asyncio.wrap_future(self._actor.ready.remote().future())
                wait = ResourceWait(demand.cluster, demand.sampling, f"the {role} engines", self._emit)
                if await wait.watch(coming) is None:
                    ray.kill(self._actor)
                    self._actor = None
                elif self._weights().kind != "base":
                    await self._load(self._actor)
                return
            except (RayActorError, RayTaskError) as error:
                broken = isinstance(error, RayTaskError) or error.actor_init_failed
                if broken or start == _STARTS:
                    cause = getattr(error, "cause", None) or error
                    raise WorkError(f"a {role} engine does not start: {_last_line(cause)}") from error
                # Its node or its process died with it.
                self._report_loss(error)
                self._new_actor()

    async def _load(self, actor: Any) -> Any:
        from ray.exceptions import RayTaskError

        try:
            return await actor.update.remote(self._weights())
        except RayTaskError as error:
            raise WorkError(str(error.cause)) from error

    def _report_loss(self, error: Exception) -> None:
        self._deaths += 1
        reason = first_line(error)
        self._emit(EngineLost(role=self._spec.role, engine=self.number, deaths=self._deaths, reason=reason))


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
