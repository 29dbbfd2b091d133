"""A pool of engines with one role.

Invariant: every request gets one reply. A request whose engine dies goes to another engine, at most `attempts` times
in all, and then comes back as a failure; a dead engine is replaced, and the new one gets the current weights before
it gets a request. The last attempt is made alone: a request that kills its engine takes none along that another such
request has brought to their last.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar

from rlaif.cluster.placement import actor_options
from rlaif.cluster.shortage import Need, Shortage
from rlaif.errors import WorkError
from rlaif.inference.requests import (
    ChatReply,
    ChatRequest,
    ChoiceReply,
    ChoiceRequest,
    SampleReply,
    SampleRequest,
    ScoreRequest,
)
from rlaif.inference.vllm.actor import EngineSpec, remote_engine
from rlaif.store.events import Emit, EngineLost, EngineRole, Retry
from rlaif.store.policy_weights import PolicyWeights

Reply = TypeVar("Reply", ChoiceReply, ChatReply)

# An engine whose node dies while it starts is started elsewhere this often.
_STARTS = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """How a pool's engines are placed, and what is done when one is lost.

    Attributes:
        placement: the recipe's `cluster.placement`.
        attempts: how often a request is tried.
        need: what the cluster needs to have for all that is at work beside and in the pool.
        shortage: what is done where it has less.
    """

    placement: Literal["shared", "split"]
    attempts: int
    need: Need
    shortage: Shortage


@dataclass(eq=False)
class _Seat:
    """One place of the pool and the actor that sits there; without an actor it is vacant."""

    number: int
    actor: Any = None
    group: Any = None
    in_flight: int = 0
    deaths: int = 0
    ready: "asyncio.Task[None] | None" = field(default=None)

    @property
    def is_ready(self) -> bool:
        """Whether its engine can answer now."""
        return (
            self.ready is not None and self.ready.done() and not self.ready.cancelled() and not self.ready.exception()
        )


class EnginePool:
    """Engines of one model, asked by asyncio code of the driver.

    Args:
        spec: what each engine is made of.
        base_id: id of the model's weights.
        role: for events and messages.
        terms: how they are placed, and what is done when one is lost.
        emit: takes events.
    """

    def __init__(self, spec: EngineSpec, base_id: str, role: EngineRole, terms: Terms, emit: Emit) -> None:
        self._spec, self._base_id, self._role = spec, base_id, role
        self._terms, self._attempts, self._emit = terms, terms.attempts, emit
        self._last_attempts = asyncio.Lock()
        self._seats = [_Seat(number) for number in range(spec.section.engines)]
        self.policy = PolicyWeights(base_id, "base")

    @property
    def running(self) -> bool:
        """Whether the pool holds engines."""
        return any(seat.actor is not None for seat in self._seats)

    @property
    def identity(self) -> str:
        """What names the base weights, which answer for a judge; "" where a directory's name is all that is known."""
        return "" if os.path.isdir(self._base_id) else self._base_id

    @property
    def max_length(self) -> int:
        """Longest prompt and answer together, in tokens."""
        return self._spec.max_length

    async def start(self, engines: int | None = None) -> None:
        """Start the engines that are not there, and give them the current weights.

        Args:
            engines: how many the cluster has room for; None is all.

        Raises:
            WorkError: an engine does not start; its reason is in the message.
        """
        for seat in self._seats[:engines]:
            if seat.actor is None:
                self._seat_engine(seat)
        await asyncio.gather(*(seat.ready for seat in self._seats if seat.ready is not None))

    async def release(self) -> None:
        """Give the engines' resources back; `start` brings them again with the current weights."""
        import ray
        from ray.util.placement_group import remove_placement_group

        for seat in self._seats:
            if seat.ready is not None:
                seat.ready.cancel()
            if seat.actor is not None:
                ray.kill(seat.actor)
            if seat.group is not None:
                remove_placement_group(seat.group)
            seat.actor = seat.group = seat.ready = None

    async def update(self, policy: PolicyWeights) -> float:
        """Give every engine new weights; returns the largest difference of a probe, in nats.

        Raises:
            WorkError: an engine does not reproduce the trainer's log-probabilities.
        """
        back_to_base = policy.kind == "base" and self.policy.kind == "full" and self.running
        self.policy = policy
        if back_to_base:
            # Full weights were loaded over the base model's; engines that start anew have it again.
            await self.release()
            await self.start()
        if not self.running:
            return 0.0
        seats = [seat for seat in self._seats if seat.actor is not None]
        return max(await asyncio.gather(*(self._update_seat(seat) for seat in seats)))

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        """Return the answers to a prompt, or a failure, and how often it was tried."""
        last = ""
        for attempt in range(1, self._attempts + 1):
            try:
                return await self._ask(lambda actor: actor.sample.remote(request), attempt), attempt
            except _EngineLost as error:
                last = str(error)
                self._emit(Retry(role=self._role, prompt_id=request.id, attempt=attempt, reason=last))
        reason = f"its engine died {self._attempts} times: {last}"
        return SampleReply(request.id, [], [], self.policy.id, failure=reason), self._attempts

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Return the choices' log-probabilities for all comparisons of one prompt, from one engine, in order."""
        failed = ChoiceReply([], 0, 0, 0.0)
        return await self._ask_together(lambda actor: actor.choose.remote(list(requests)), len(requests), failed)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Return the base model's texts for all questions on one prompt, from one engine, in order."""
        failed = ChatReply("", "", 0, 0, 0.0)
        return await self._ask_together(lambda actor: actor.chat.remote(list(requests)), len(requests), failed)

    async def score(self, request: ScoreRequest) -> list[float]:
        """Return the log-probabilities of a sequence's tokens; see `ScoreRequest`."""
        for attempt in range(1, self._attempts + 1):
            try:
                logprobs: list[float] = await self._ask(lambda actor: actor.score.remote(request), attempt)
                return logprobs
            except _EngineLost as error:
                last = str(error)
        raise WorkError(f"a sequence could not be scored: its engine died {self._attempts} times: {last}")

    async def _ask_together(self, call: Callable[[Any], Any], count: int, failed: Reply) -> list[Reply]:
        """Return the replies to `count` requests that go to one engine, or as many failures."""
        last = ""
        for attempt in range(1, self._attempts + 1):
            try:
                replies: list[Reply] = await self._ask(call, attempt)
                return replies
            except _EngineLost as error:
                last = str(error)
                self._emit(Retry(role=self._role, attempt=attempt, reason=last))
        return [replace(failed, failure=f"its engine died {self._attempts} times: {last}") for _ in range(count)]

    async def _ask(self, call: Callable[[Any], Any], attempt: int) -> Any:
        if 1 < attempt == self._attempts:
            async with self._last_attempts:
                return await self._ask_one(call)
        return await self._ask_one(call)

    async def _ask_one(self, call: Callable[[Any], Any]) -> Any:
        from ray.exceptions import RayActorError, RayTaskError

        seat = self._best_seat()
        seat.in_flight += 1
        try:
            if seat.ready is not None:
                await asyncio.shield(seat.ready)
            actor = seat.actor
            if actor is None:
                raise _EngineLost("there was no room for another")
            try:
                return await call(actor)
            except RayTaskError as error:
                raise WorkError(f"a {self._role} engine failed: {error.cause}") from error
            except RayActorError as error:
                self._replace(seat, actor, error)
                raise _EngineLost(_first_line(error)) from error
        finally:
            seat.in_flight -= 1

    def _best_seat(self) -> _Seat:
        """Return the seat with the least work, one whose engine is there before one that is waited for."""
        taken = [seat for seat in self._seats if seat.actor is not None]
        if not taken:
            raise WorkError(f"no {self._role} engine is left")
        return min(taken, key=lambda seat: (not seat.is_ready, seat.in_flight, seat.number))

    def _replace(self, seat: _Seat, actor: Any, error: Exception) -> None:
        if seat.actor is not actor:
            return  # Another request has seen the death already.
        self._emit_lost(seat, error)
        self._seat_engine(seat)

    def _emit_lost(self, seat: _Seat, error: Exception) -> None:
        seat.deaths += 1
        reason = _first_line(error)
        self._emit(EngineLost(role=self._role, engine=seat.number, deaths=seat.deaths, reason=reason))

    def _seat_engine(self, seat: _Seat) -> None:
        self._new_actor(seat)
        seat.ready = asyncio.get_running_loop().create_task(self._make_ready(seat))

    def _new_actor(self, seat: _Seat) -> None:
        from ray.util.placement_group import remove_placement_group

        if seat.group is not None:
            remove_placement_group(seat.group)
        options = actor_options(self._spec.section, self._spec.gpu, self._terms.placement)
        seat.group = getattr(options.get("scheduling_strategy"), "placement_group", None)
        on_node = 1 if self._spec.gpu else self._engines_on_a_node()
        seat.actor = remote_engine(options).remote(self._spec, self._base_id, on_node)

    def _engines_on_a_node(self) -> int:
        import ray

        nodes = max(1, sum(1 for node in ray.nodes() if node["Alive"]))
        return -(-len(self._seats) // nodes)

    async def _make_ready(self, seat: _Seat) -> None:
        """Wait until the seat's engine can answer, with the current weights; leave the seat vacant if none comes."""
        from ray.exceptions import RayActorError, RayTaskError

        what = f"the {self._role} engines"
        for start in range(1, _STARTS + 1):
            try:
                coming = asyncio.wrap_future(seat.actor.ready.remote().future())
                if await self._terms.shortage.watch(coming, self._terms.need, what) is None:
                    self._vacate(seat)
                elif self.policy.kind != "base":
                    await self._update_actor(seat.actor)
                return
            except (RayActorError, RayTaskError) as error:
                broken = isinstance(error, RayTaskError) or error.actor_init_failed
                if broken or start == _STARTS:
                    cause = getattr(error, "cause", None) or error
                    raise WorkError(f"a {self._role} engine does not start: {_last_line(cause)}") from error
                # Its node or its process died with it.
                self._emit_lost(seat, error)
                self._new_actor(seat)

    def _vacate(self, seat: _Seat) -> None:
        import ray

        ray.kill(seat.actor)
        seat.actor = None
        if not self.running:
            raise WorkError(f"no {self._role} engine is left, and the cluster has no room for one")

    async def _update_seat(self, seat: _Seat) -> float:
        from ray.exceptions import RayActorError

        if seat.ready is not None:
            await asyncio.shield(seat.ready)
        actor = seat.actor
        if actor is None:
            return 0.0
        try:
            return await self._update_actor(actor)
        except RayActorError as error:
            # The engine that takes its place gets the weights, and is held to them, before it is ready.
            self._replace(seat, actor, error)
            assert seat.ready is not None
            await asyncio.shield(seat.ready)
            return 0.0

    async def _update_actor(self, actor: Any) -> float:
        from ray.exceptions import RayTaskError

        try:
            return float(await actor.update.remote(self.policy))
        except RayTaskError as error:
            raise WorkError(str(error.cause)) from error


class _EngineLost(Exception):
    """The engine died with the request in flight."""


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
