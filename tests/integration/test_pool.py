"""A pool of real engines in real actors, and the cost of an engine that dies."""

import asyncio
import os
import signal
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from rlaif.cluster.resources import ClusterDemand
from rlaif.errors import WorkError
from rlaif.evaluation.heldout import PolicySample, initial_logps
from rlaif.inference.requests import ChoiceRequest, SampleReply, SampleRequest, ScoreRequest
from rlaif.inference.vllm.actor import EngineActor, EngineSpec
from rlaif.inference.vllm.pool import EnginePool
from rlaif.recipe import ClusterSection, EnginesSection
from rlaif.store.events import AnyEvent, EngineLost
from rlaif.store.policy_weights import PolicyWeights


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


class OnceBroken:
    """An engine whose first change to the initial weights fails, in whichever process it runs; `marker` remembers."""

    alive = True

    def __init__(self, marker: str) -> None:
        self._marker, self.policy = Path(marker), ""

    def update(self, policy: PolicyWeights, folder: str) -> "Future[None]":
        self.policy = policy.id
        return done(None)

    def score_initial(self, requests: list[ScoreRequest]) -> "Future[list[list[float]]]":
        if not self._marker.exists():
            self._marker.touch()
            failed: Future[list[list[float]]] = Future()
            failed.set_exception(RuntimeError("the disk is gone"))
            return failed
        assert self.policy == "full-1", "an engine that replaces another has the current weights first"
        return done([[-1.0] * (len(request.token_ids) - request.start) for request in requests])


def done(value: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(value)
    return future


class BrokenActor(EngineActor):
    """The real actor around it; the model's name is the marker."""

    def __init__(self, spec: EngineSpec, engines_on_node: int) -> None:
        self._engine: Any = OnceBroken(spec.model)


@pytest.mark.usefixtures("ray_here")
def test_the_initial_policy_is_scored_by_the_runs_engines_where_nothing_else_is_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With every CPU held and no GPU there, anything more that is asked for would wait for ever."""
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    monkeypatch.setattr(
        "rlaif.inference.vllm.slot.remote_engine",
        lambda options: ray.remote(BrokenActor).options(max_concurrency=64, max_restarts=0, **options),
    )
    events: list[AnyEvent] = []

    async def work() -> list[float]:
        pool = make_pool(events, model=str(tmp_path / "marker"))
        held = placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
        try:
            await pool.start()
            await pool.update(PolicyWeights("full-1", "full", serial=1))
            await asyncio.wait_for(asyncio.wrap_future(held.ready().future()), 60)
            samples = [PolicySample([1, 2, 3], [4, 5], -0.5), PolicySample([1], [2, 3, 4], -0.5)]
            return await asyncio.wait_for(initial_logps(pool, samples), 120)
        finally:
            await pool.release()
            remove_placement_group(held)

    assert asyncio.run(work()) == [-2.0, -3.0]
    # Nobody knows which weights the first one was left with, so another took its place.
    assert sum(isinstance(event, EngineLost) for event in events) == 1
