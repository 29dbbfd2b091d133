"""A pool of engines with one model and one role.

Invariant: every request gets one reply. A request whose engine dies goes to another engine, at most `attempts` times
in all, and then comes back as a failure. The last attempt is made alone: a request that kills its engine does not take
along another one that is also at its last.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from rlaif.cluster.resources import ClusterDemand
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
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.probe import ProbeResult
from rlaif.inference.vllm.slot import EngineDied, EngineSlot
from rlaif.store.events import Emit, Retry
from rlaif.store.policy_weights import PolicyWeights

Reply = TypeVar("Reply", ChoiceReply, ChatReply)


class EnginePool:
    """Engines of one model, asked by asyncio code of the driver.

    Args:
        attempts: how often a request is tried.

    Attributes:
        base: the model that the engines start with.
        policy: what they answer with.
    """

    def __init__(self, spec: EngineSpec, demand: ClusterDemand, *, attempts: int, emit: Emit) -> None:
        self._spec, self._attempts, self._emit = spec, attempts, emit
        self._last_attempts = asyncio.Lock()
        self._slots = [
            EngineSlot(number, spec, demand, weights=lambda: self.policy, emit=emit)
            for number in range(spec.section.engines)
        ]
        self.base = self.policy = PolicyWeights(spec.base_id, "base")

    @property
    def running(self) -> bool:
        """Whether the pool holds engines."""
        return any(slot.occupied for slot in self._slots)

    @property
    def identity(self) -> str:
        """Names the base weights, which answer for a judge; "" where only a directory's path is known."""
        spec = self._spec
        named = f"{spec.base_id}@{spec.model}" if spec.adapter else spec.base_id
        return "" if os.path.isdir(spec.model if spec.adapter else spec.base_id) else named

    async def start(self, engines: int | None = None) -> None:
        """Start the engines that are not there, as many as the cluster has room for; None is all."""
        for slot in self._slots[:engines]:
            if not slot.occupied:
                slot.start()
        await asyncio.gather(*(slot.wait_ready() for slot in self._slots))
        if not self.running:
            raise self._no_engine_left()

    async def release(self) -> None:
        """Give the engines' resources back; `start` brings them again with the current weights."""
        for slot in self._slots:
            slot.release()

    async def update(self, policy: PolicyWeights) -> ProbeResult | None:
        """Give every engine new weights; returns what the probe says of all, None where none was checked."""
        back_to_base = policy.kind == "base" and self.policy.kind == "full" and self.running
        self.policy = policy
        if back_to_base:
            # Full weights were loaded over the base model's; only new engines have those again.
            await self.release()
            await self.start()
        occupied = [slot for slot in self._slots if slot.occupied]
        results = await asyncio.gather(*(slot.update() for slot in occupied))
        return ProbeResult.worst([result for result in results if result is not None])

    async def sample(self, request: SampleRequest) -> tuple[SampleReply, int]:
        """Return the candidates of a prompt, or a failure, and how often it was tried."""
        try:
            return await self._try(lambda actor: actor.sample.remote(request), prompt_id=request.id)
        except EngineDied as lost:
            return SampleReply(request.id, [], [], self.policy.id, failure=str(lost)), self._attempts

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Return the choices' log-probabilities for all comparisons of one question, from one engine, in order."""
        failed = ChoiceReply([], 0, 0, 0.0)
        return await self._ask_together(lambda actor: actor.choose.remote(list(requests)), len(requests), failed)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Return the base model's texts for all requests on one question, from one engine, in order."""
        failed = ChatReply("", "", 0, 0, 0.0)
        return await self._ask_together(lambda actor: actor.chat.remote(list(requests)), len(requests), failed)

    async def score(self, request: ScoreRequest) -> list[float]:
        """Return the log-probabilities of a sequence's tokens; see `ScoreRequest`."""
        try:
            logprobs: list[float] = (await self._try(lambda actor: actor.score.remote(request)))[0]
            return logprobs
        except EngineDied as lost:
            raise WorkError(f"a sequence could not be scored: {lost}") from None

    async def score_initial(self, requests: Sequence[ScoreRequest]) -> list[list[float]]:
        """Return log-probabilities of sequences under the model that the engines started with, in order.

        With adapters, that model is still there. Full weights have replaced it: one engine loads it for the time that
        it takes, and then the current weights again. No other resource is asked for.
        """
        if self._spec.lora_rank is not None:
            return list(await asyncio.gather(*(self.score(replace(each, adapter=False)) for each in requests)))
        try:
            scores: list[list[float]] = (await self._try(lambda actor: actor.score_initial.remote(list(requests))))[0]
            return scores
        except EngineDied as lost:
            raise WorkError(f"the initial policy could not be scored: {lost}") from None

    async def _ask_together(self, call: Callable[[Any], Any], count: int, failed: Reply) -> list[Reply]:
        """Return the replies to `count` requests that go to one engine, or as many failures."""
        try:
            replies: list[Reply] = (await self._try(call))[0]
            return replies
        except EngineDied as lost:
            return [replace(failed, failure=str(lost)) for _ in range(count)]

    async def _try(self, call: Callable[[Any], Any], prompt_id: str | None = None) -> tuple[Any, int]:
        """Return an engine's answer to a remote call of its actor, and how often it was tried.

        Raises:
            EngineDied: the last attempt's engine died too.
        """
        last = ""
        for attempt in range(1, self._attempts + 1):
            turn = self._last_attempts if 1 < attempt == self._attempts else nullcontext()
            try:
                async with turn:
                    return await self._best_slot().call(call), attempt
            except EngineDied as lost:
                if not self.running:
                    raise self._no_engine_left() from None
                last = str(lost)
                self._emit(Retry(role=self._spec.role, prompt_id=prompt_id, attempt=attempt, reason=last))
        raise EngineDied(f"its engine died {self._attempts} times: {last}")

    def _best_slot(self) -> EngineSlot:
        """Return the slot with the least work, one whose engine is ready before one that is starting."""
        occupied = [slot for slot in self._slots if slot.occupied]
        if not occupied:
            raise self._no_engine_left()
        return min(occupied, key=lambda slot: (not slot.ready, slot.in_flight, slot.number))

    def _no_engine_left(self) -> WorkError:
        return WorkError(f"no {self._spec.role} engine is left, and the cluster has no room for one")
