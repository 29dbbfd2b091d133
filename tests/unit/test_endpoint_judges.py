"""Judges behind an endpoint: their verdicts, event loops, cancelled requests and limits."""

import asyncio
import gc
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import build_judge, limited_spending, open_judge
from rlaif.judges.judge_file import load_judge_file
from tests.endpoint import Endpoint, Exchange, endpoint
from tests.openai_server import KEY, judge_file


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)


def test_a_judge_over_an_endpoint_that_sometimes_fails_loses_no_verdict(tmp_path: Path) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        text = exchange.server.requests[number - 1]["messages"][0]["content"]
        if "| lost" in text:
            return exchange.refuse(500, "gone")
        return exchange.say("[[A]]" if text.index("| good") < text.index("| bad") else "[[B]]")

    async def judged(server: Endpoint) -> list[tuple[str, float | None]]:
        spec = load_judge_file(judge_file(tmp_path, server.url))
        async with open_judge(spec, None) as judge:  # type: ignore[arg-type]
            found = []
            for prompt_id, answers in (("q1", ["good", "bad"]), ("q2", ["lost", "bad"])):
                verdicts = await judge.verdicts(Question(prompt_id, "Q?"), answers)
                found += [(decision.status, decision.preference) for decision in judge.decide(prompt_id, 2, verdicts)]
            return found

    with endpoint(answer) as server:
        assert asyncio.run(judged(server)) == [("ok", 1.0), ("error", None)]


def test_one_judge_serves_one_event_loop_after_another(tmp_path: Path) -> None:
    with endpoint(lambda exchange, number: exchange.say("[[A]]")) as server:
        judge = build_judge(load_judge_file(judge_file(tmp_path, server.url)), None)  # type: ignore[arg-type]
        for _ in range(2):
            verdicts = asyncio.run(judge.verdicts(Question("q", "Q?"), ["x", "y"]))
            assert [verdict.status for verdict in verdicts] == ["ok", "ok"]


def test_a_stopped_judge_drops_its_requests_silently(tmp_path: Path) -> None:
    sent, stop = threading.Event(), threading.Event()
    complaints: list[dict[str, Any]] = []

    def answer(exchange: Exchange, number: int) -> None:
        sent.set()
        stop.wait(30)
        exchange.refuse(500, "too busy")

    async def stopped(server: Endpoint) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context))
        # One request waits for its retry, and the other for its turn.
        spec = load_judge_file(judge_file(tmp_path, server.url, "  concurrency: 1\n"))
        with closing(ResponseCache(tmp_path / "verdicts.sqlite")) as cache:
            async with open_judge(spec, None, cache=cache) as judge:  # type: ignore[arg-type]
                verdicts = asyncio.create_task(judge.verdicts(Question("q", "Q?"), ["x", "y"]))
                await asyncio.to_thread(sent.wait)
                verdicts.cancel()
                await asyncio.gather(verdicts, return_exceptions=True)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        stop.set()
        await asyncio.sleep(0.2)
        gc.collect()

    with endpoint(answer) as server:
        gc.collect()  # Clients that other tests left open would log errors in this loop.
        asyncio.run(stopped(server))
        assert (len(server.requests), complaints) == (1, [])


def test_an_answer_is_kept_before_the_next_question_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.sqlite"
    kept: list[int] = []

    def answer(exchange: Exchange, number: int) -> None:
        with closing(sqlite3.connect(path)) as connection:
            kept.append(connection.execute("SELECT count(*) FROM replies").fetchone()[0])
        exchange.say("[[A]]")

    async def judged(server: Endpoint) -> None:
        spec = load_judge_file(judge_file(tmp_path, server.url, "  concurrency: 1\n"))
        with closing(ResponseCache(path)) as cache:
            async with open_judge(spec, None, cache=cache) as judge:  # type: ignore[arg-type]
                await asyncio.gather(*(judge.verdicts(Question(f"q{n}", f"Q{n}?"), ["x", "y"]) for n in range(10)))

    with endpoint(answer) as server:
        asyncio.run(judged(server))
    assert kept == list(range(20))


def test_a_limit_without_prices_or_without_an_endpoint_is_refused(tmp_path: Path) -> None:
    remote = load_judge_file(judge_file(tmp_path, "http://localhost/v1"))
    with pytest.raises(UserError, match=r"judge\.max_cost: .*remote\.yaml has no backend\.prices"):
        limited_spending([remote], 1.0)
    with pytest.raises(UserError, match=r"judge\.max_cost: judge reference asks no endpoint that charges"):
        limited_spending([load_judge_file("reference")], 1.0)
    priced = load_judge_file(
        judge_file(tmp_path, "http://localhost/v1", "  prices: {prompt: 1, completion: 2, currency: EUR}")
    )
    account = limited_spending([priced], 2.0, spent=2.5)
    with pytest.raises(WorkError, match=r"2\.50 EUR spent on the judge, and 2 is the limit"):
        account.check()
    limited_spending([priced], None).check()
