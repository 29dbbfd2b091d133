"""A pool of real engines in real actors: what a dead engine costs."""

import asyncio
import os
import signal
from typing import Any

import pytest

from rlaif.engines.actor import EngineSpec
from rlaif.engines.pool import EnginePool
from rlaif.engines.requests import LabelRequest, SampleRequest
from rlaif.errors import WorkError
from rlaif.recipe import EnginesSection


def make_pool(events: list[dict[str, Any]], model: str = "builtin:smollm2-135m") -> EnginePool:
    section = EnginesSection(max_num_seqs=16, kv_cache_gib=0.25)
    spec = EngineSpec(model, None, section, "float32", 512, 400, False, None, None)
    return EnginePool(
        spec, "base", "policy", "shared", 3, lambda event, **fields: events.append({"event": event, **fields})
    )


@pytest.mark.usefixtures("ray_here")
def test_engine_killed_in_the_middle_costs_its_prompts_a_retry_and_nothing_else() -> None:
    events: list[dict[str, Any]] = []

    async def work() -> list[tuple[Any, int]]:
        pool = make_pool(events)
        try:
            await pool.start()
            pid = await pool._seats[0].actor.ready.remote()
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
    assert all(reply.failure is None and len(reply.samples) == 2 for reply, _ in replies)
    assert {attempts for _, attempts in replies} <= {1, 2}
    assert max(attempts for _, attempts in replies) == 2
    assert [event["event"] for event in events].count("engine_lost") == 1


@pytest.mark.usefixtures("ray_here")
def test_engine_that_cannot_start_says_why() -> None:
    async def work() -> None:
        pool = make_pool([], model="/no/such/model")
        try:
            await pool.start()
        finally:
            await pool.release()

    with pytest.raises(WorkError, match="no such"):
        asyncio.run(work())


@pytest.mark.usefixtures("ray_here")
def test_labels_of_one_prompt_come_back_in_order() -> None:
    async def work() -> list[Any]:
        pool = make_pool([])
        try:
            await pool.start()
            asks = [
                LabelRequest([{"role": "user", "content": f"Reply with the letter {letter}."}], ("A", "B"))
                for letter in ("A", "B", "A")
            ]
            return await pool.labels(asks)
        finally:
            await pool.release()

    replies = asyncio.run(work())
    assert all(reply.failure is None and len(reply.logprobs) == 2 for reply in replies)
    assert replies[0].logprobs == pytest.approx(replies[2].logprobs, abs=1e-4)
    margins = [reply.logprobs[0] - reply.logprobs[1] for reply in replies]
    assert margins[0] > margins[1]
