"""A pool of real engines in real actors, and the cost of an engine that dies."""

import asyncio
import os
import signal
from typing import Any

import pytest

from rlaif.cluster.resources import ClusterDemand
from rlaif.errors import WorkError
from rlaif.inference.requests import ChoiceRequest, SampleReply, SampleRequest
from rlaif.inference.vllm.actor import EngineSpec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.recipe import ClusterSection, EnginesSection
from rlaif.store.events import AnyEvent, EngineLost


def make_pool(events: list[AnyEvent], model: str = "builtin:smollm2-135m") -> EnginePool:
    section = EnginesSection(max_num_seqs=16, kv_cache_gib=0.25)
    spec = EngineSpec(
        role="policy", model=model, base_id="base", section=section, dtype="float32", context=512, max_length=400,
        gpu=False,
    )  # fmt: skip
    demand = ClusterDemand(ClusterSection(), False, (section,))
    return EnginePool(spec, demand, attempts=3, emit=events.append)


@pytest.mark.usefixtures("ray_here")
def test_an_engine_killed_in_the_middle_costs_its_prompts_one_retry() -> None:
    events: list[AnyEvent] = []

    async def work() -> list[tuple[Any, int]]:
        pool = make_pool(events)
        try:
            await pool.start()
            pid = await pool._slots[0]._actor.ready.remote()
            requests = [
                SampleRequest(f"p{i}", [{"role": "user", "content": f"Count to {i}."}], n=2, seed=i, max_tokens=60)
                for i in range(12)
            ]
            tasks = [asyncio.create_task(pool.sample(request)) for request in requests]
            await asyncio.sleep(1.5)
            os.kill(pid, signal.SIGKILL)
            return list(await asyncio.gather(*tasks))
        finally:
            await pool.release()

    replies = asyncio.run(work())
    assert [reply.id for reply, _ in replies] == [f"p{i}" for i in range(12)]
    assert all(reply.failure is None and len(reply.candidates) == 2 for reply, _ in replies)
    assert {attempts for _, attempts in replies} <= {1, 2}
    assert max(attempts for _, attempts in replies) == 2
    assert sum(isinstance(event, EngineLost) for event in events) == 1


@pytest.mark.usefixtures("ray_here")
def test_an_engine_that_cannot_start_gives_its_reason() -> None:
    async def work() -> None:
        pool = make_pool([], model="/no/such/model")
        try:
            await pool.start()
        finally:
            await pool.release()

    with pytest.raises(WorkError, match="no such"):
        asyncio.run(work())


@pytest.mark.usefixtures("ray_here")
def test_choices_of_one_prompt_come_back_in_order() -> None:
    async def work() -> list[Any]:
        pool = make_pool([])
        try:
            await pool.start()
            asks = [
                ChoiceRequest([{"role": "user", "content": f"Reply with the letter {letter}."}], ("A", "B"))
                for letter in ("A", "B", "A")
            ]
            return await pool.choices(asks)
        finally:
            await pool.release()

    replies = asyncio.run(work())
    assert all(reply.failure is None and len(reply.logprobs) == 2 for reply in replies)
    assert replies[0].logprobs == pytest.approx(replies[2].logprobs, abs=1e-4)
    margins = [reply.logprobs[0] - reply.logprobs[1] for reply in replies]
    assert margins[0] > margins[1]


class Fragile:
    """A real actor whose process dies at one prompt, and answers every other one after a delay."""

    def __init__(self, *_: object) -> None:
        pass

    async def ready(self) -> int:
        return os.getpid()

    async def sample(self, request: SampleRequest) -> SampleReply:
        await asyncio.sleep(0.1)
        if request.id == "poison":
            os._exit(1)
        await asyncio.sleep(0.2)
        return SampleReply(request.id, [], [], "base")


@pytest.mark.usefixtures("ray_here")
def test_a_prompt_that_kills_its_engine_fails_and_the_others_succeed(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(
        "rlaif.inference.vllm.slot.remote_engine",
        lambda options: ray.remote(Fragile).options(max_concurrency=64, max_restarts=0, **options),
    )
    events: list[AnyEvent] = []

    async def work() -> list[tuple[SampleReply, int]]:
        pool = make_pool(events)
        try:
            await pool.start()
            names = ["poison", *(f"p{i}" for i in range(8)), "poison"]
            return await asyncio.gather(*(pool.sample(SampleRequest(name, [], n=1, seed=0)) for name in names))
        finally:
            await pool.release()

    for reply, attempts in asyncio.run(work()):
        assert (reply.failure is not None) == (reply.id == "poison")
        assert attempts <= 3
    # Two die together twice, and then each alone.
    assert sum(isinstance(event, EngineLost) for event in events) == 4
