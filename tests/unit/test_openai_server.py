"""Judges behind an endpoint, against a real server on this machine: retries, limits, money, and a hidden key."""

import asyncio
import email.utils
import gc
import json
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.response_cache import ResponseCache
from rlaif.judges.build import build_judge, limited_spending, open_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.recipe.judge import OpenAIBackend
from tests.endpoint import Endpoint, Exchange, endpoint

KEY = "sk-do-not-tell-4711"
MESSAGES = [{"role": "user", "content": "Which?"}]
REQUEST = ChatRequest(MESSAGES, 64)
CHOICES = ChoiceRequest(MESSAGES, ("A", "B"))


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.openai_server._PAUSE", 0.01)


def backend(server: Endpoint, **options: Any) -> OpenAIBackend:
    return OpenAIBackend(type="openai", model="m", base_url=server.url, **options)


def ask(
    answer: Callable[[Exchange, int], None],
    request: ChatRequest = REQUEST,
    spending: Spending | None = None,
    **options: Any,
) -> tuple[ChatReply, Endpoint]:
    async def chat(server: Endpoint) -> ChatReply:
        client = OpenAIServer(backend(server, **options), spending or Spending())
        try:
            (reply,) = await client.chats([request])
        finally:
            await client.close()
        return reply

    with endpoint(answer) as server:
        return asyncio.run(chat(server)), server


def ask_choices(answer: Callable[[Exchange, int], None], **options: Any) -> ChoiceReply:
    async def choices(server: Endpoint) -> ChoiceReply:
        client = OpenAIServer(backend(server, **options), Spending())
        (reply,) = await client.choices([CHOICES])
        await client.close()
        return reply

    with endpoint(answer) as server:
        return asyncio.run(choices(server))


def test_a_text_comes_back_with_what_it_cost() -> None:
    reply, server = ask(lambda exchange, number: exchange.say("[[A]]"))
    assert (reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens, reply.failure) == (
        "[[A]]", "stop", 100, 10, None,
    )  # fmt: skip
    assert 0 < reply.seconds < 30
    assert server.requests == [{"model": "m", "messages": MESSAGES, "max_tokens": 64, "temperature": 0.0}]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


def test_sampling_and_schema_are_passed_on() -> None:
    schema = '{"type": "object", "properties": {"choice": {"enum": ["A", "B"]}}}'
    request = ChatRequest(MESSAGES, 8, 0.7, 5, schema)
    _, server = ask(lambda exchange, number: exchange.say("{}"), request, token_limit="max_completion_tokens")
    (body,) = server.requests
    assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0.7, 5, 8)
    assert "max_tokens" not in body
    assert body["response_format"] == {
        "type": "json_schema", "json_schema": {"name": "verdict", "strict": True, "schema": json.loads(schema)},
    }  # fmt: skip
    _, server = ask(lambda exchange, number: exchange.say("x"), ChatRequest(MESSAGES, 8, None))
    assert "temperature" not in server.requests[0]


def test_a_cut_answer_says_so_and_a_refusal_is_its_text() -> None:
    assert ask(lambda exchange, number: exchange.say("A is", finish_reason="length"))[0].finish_reason == "length"
    refusal = {"role": "assistant", "content": None, "refusal": "I will not."}
    assert ask(lambda exchange, number: exchange.say(None, message=refusal))[0].text == "I will not."
    stopped, _ = ask(lambda exchange, number: exchange.say("", finish_reason="content_filter"))
    assert stopped.failure == "the endpoint's content filter stopped the answer"


@pytest.mark.parametrize("status", [500, 502, 503, 529, 429, 408, 409])
def test_temporary_errors_are_retried(status: int) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.refuse(status, "busy") if number < 3 else exchange.say("[[A]]")

    reply, server = ask(answer)
    assert (reply.text, len(server.requests)) == ("[[A]]", 3)


def test_a_dropped_connection_is_retried() -> None:
    reply, server = ask(lambda exchange, number: exchange.hang_up() if number < 3 else exchange.say("[[A]]"))
    assert (reply.text, len(server.requests)) == ("[[A]]", 3)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [(b"{", "application/json"), (b"<html>busy</html>", "text/html"), (b"null", "application/json"),
     (b'{"choices": []}', "application/json"), (b'{"choices": [{}]}', "application/json"),
     (b'{"choices": [{"message": null}]}', "application/json"), (b'{"choices": null}', "application/json")],
)  # fmt: skip
def test_a_malformed_response_is_retried(data: bytes, content_type: str) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.send(200, data, content_type) if number == 1 else exchange.say("[[A]]")

    reply, server = ask(answer)
    assert (reply.text, len(server.requests)) == ("[[A]]", 2)
    failed, _ = ask(lambda exchange, number: exchange.send(200, data, content_type), retries=0)
    assert (failed.failure or "").startswith("malformed response: ")


def test_a_slow_answer_is_given_up_and_retried() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        if number == 1:
            time.sleep(0.6)
        exchange.say("[[A]]")

    reply, server = ask(answer, timeout=0.2)
    assert (reply.text, len(server.requests)) == ("[[A]]", 2)
    slow, _ = ask(lambda exchange, number: time.sleep(0.3), timeout=0.1, retries=0)
    assert slow.failure == "no answer in 0.1 seconds"


def test_after_the_last_try_the_reply_says_why() -> None:
    reply, server = ask(lambda exchange, number: exchange.refuse(500, "the server had an error"), retries=2)
    assert len(server.requests) == 3
    assert reply.failure is not None
    assert reply.failure.startswith("HTTP 500: ")
    assert reply.failure.endswith("(3 tries)")


@pytest.mark.parametrize("status", [400, 403, 404, 422])
def test_permanent_errors_end_the_work_and_are_not_retried(status: int) -> None:
    numbers = []

    def answer(exchange: Exchange, number: int) -> None:
        numbers.append(number)
        exchange.refuse(status, "no such model")

    with pytest.raises(WorkError, match=f"m at .* refuses every request: HTTP {status}: no such model"):
        ask(answer)
    assert numbers == [1]


def test_a_question_that_is_not_valid_text_is_not_sent() -> None:
    request = ChatRequest([{"role": "user", "content": "half \ud800"}], 8)
    reply, server = ask(lambda exchange, number: exchange.say("x"), request)
    assert (reply.failure or "").startswith("the question holds half of a surrogate pair")
    assert server.requests == []


def test_a_missing_server_is_a_failure_with_its_reason() -> None:
    with endpoint(lambda exchange, number: None) as server:
        closed = backend(server, retries=1)
    (reply,) = asyncio.run(OpenAIServer(closed, Spending()).chats([REQUEST]))
    assert (reply.failure or "").startswith("no connection: ")


@pytest.mark.parametrize("as_date", [False, True])
def test_a_server_that_asks_to_wait_is_waited_for(as_date: bool) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        if number > 1:
            return exchange.say("[[A]]")
        # A date has whole seconds, so it asks for between one and two of them.
        date = email.utils.formatdate(math.ceil(time.time()) + 1, usegmt=True)
        return exchange.refuse(429, "slow down", Retry_After=date if as_date else "0.5")

    reply, server = ask(answer)
    assert reply.text == "[[A]]"
    assert server.times[1] - server.times[0] >= (0.9 if as_date else 0.5)


def test_a_server_that_asks_to_wait_too_long_is_given_up() -> None:
    reply, server = ask(lambda exchange, number: exchange.refuse(429, "tomorrow", Retry_After="86400"))
    assert len(server.requests) == 1
    assert "tomorrow" in (reply.failure or "")


@pytest.mark.parametrize("value", ["-3", "soon", "inf", "nan", "", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Foo 2015"])
def test_a_wait_that_cannot_be_read_or_has_passed_is_ignored(value: str) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.refuse(429, "slow down", Retry_After=value) if number == 1 else exchange.say("[[A]]")

    reply, server = ask(answer)
    assert (reply.text, len(server.requests)) == ("[[A]]", 2)
    assert server.times[1] - server.times[0] < 5


def test_waits_grow_from_try_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.1)
    _, server = ask(lambda exchange, number: exchange.refuse(500, "busy"), retries=3)
    waits = [later - earlier for earlier, later in zip(server.times, server.times[1:], strict=False)]
    assert len(waits) == 3
    assert waits[0] < waits[1] < waits[2]


def test_the_tries_after_malformed_responses_count_with_the_others() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.send(200, b"{") if number % 2 else exchange.refuse(500, "busy")

    reply, server = ask(answer, retries=3)
    assert len(server.requests) == 4
    assert (reply.failure or "").endswith("(4 tries)")


def test_no_try_is_sent_once_the_limit_is_reached() -> None:
    spending = Spending(limit=1.0)

    def answer(exchange: Exchange, number: int) -> None:
        spending.spent = 1.0
        exchange.refuse(500, "busy")

    with pytest.raises(WorkError, match=r"judge\.max_cost: 1\.00 USD spent"):
        ask(answer, spending=spending)


def test_requests_in_flight_are_bounded_and_replies_keep_their_order() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        time.sleep(0.02)
        exchange.say(exchange.server.requests[number - 1]["messages"][0]["content"])

    async def many(server: Endpoint) -> list[ChatReply]:
        client = OpenAIServer(backend(server, concurrency=4), Spending())
        requests = [ChatRequest([{"role": "user", "content": str(index)}], 8) for index in range(24)]
        halves = await asyncio.gather(client.chats(requests[:12]), client.chats(requests[12:]))
        await client.close()
        return [reply for half in halves for reply in half]

    with endpoint(answer) as server:
        replies = asyncio.run(many(server))
    assert server.most_in_flight == 4
    assert len({reply.text for reply in replies}) == 24


def logprobs(given: dict[str, float]) -> dict[str, Any]:
    entries = [{"token": token, "logprob": value, "bytes": None} for token, value in given.items()]
    return {"content": [{**entries[0], "top_logprobs": entries}]}


def test_choices_are_read_from_the_likeliest_tokens_and_a_missing_one_has_no_log_probability() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        body = exchange.server.requests[0]
        assert (body["max_tokens"], body["logprobs"], body["top_logprobs"], body["temperature"]) == (1, True, 20, 1.0)
        exchange.say("A", tokens=(50, 1), logprobs=logprobs({"A": -0.5, "The": -1.0, " A": -3.0, "a": -4.0}))

    reply = ask_choices(answer)
    assert reply.logprobs == [pytest.approx(math.log(math.exp(-0.5) + math.exp(-3.0))), -math.inf]
    assert (reply.text, reply.text_logprob) == ("A", -0.5)
    assert (reply.text, reply.prompt_tokens, reply.completion_tokens, reply.failure) == ("A", 50, 1, None)


def test_a_model_that_begins_with_no_choice_is_unparsed_with_what_it_begins_with(tmp_path: Path) -> None:
    """The sampled token need not be the likeliest, and a choice outside the likeliest tokens counts nothing."""

    def answer(exchange: Exchange, number: int) -> None:
        given = {"The": math.log(0.03), "<think>": math.log(0.9)}
        exchange.say("The", tokens=(50, 1), logprobs=logprobs(given))

    path = tmp_path / "j.yaml"
    with endpoint(answer) as server:
        backend = f"{{type: openai, model: m, base_url: {server.url}, api_key_env: null}}"
        path.write_text(f"kind: llm\nprompt: finance-grounded\nbackend: {backend}\n", encoding="utf-8")
        judge = build_judge(load_judge_file(str(path)), None)  # type: ignore[arg-type]
        verdicts = asyncio.run(judge.verdicts(Question("q", "Q?"), ["x", "y"]))
    assert {(v.status, v.mass, v.preference, v.text) for v in verdicts} == {
        (
            "unparsed",
            0.0,
            None,
            "neither (A -inf, B -inf); the choices hold 0 of the probability, 0.1 is the least; "
            "the likeliest beginning is '<think>' with 0.9",
        )
    }


def test_an_endpoint_without_log_probabilities_is_a_failure_with_its_reason() -> None:
    for extra in ({}, {"logprobs": None}, {"logprobs": {"content": []}}):
        reply = ask_choices(lambda exchange, number, extra=extra: exchange.say("A", **extra))  # type: ignore[misc]
        assert (reply.failure or "").startswith("m gives no log-probabilities")


def test_a_server_that_needs_no_key_gets_no_key() -> None:
    reply, server = ask(lambda exchange, number: exchange.say("[[A]]"), api_key_env=None)
    assert reply.text == "[[A]]"
    assert "authorization" not in server.headers[0]


@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_key_is_reported_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    if value is not None:
        monkeypatch.setenv("OPENAI_API_KEY", value)
    with pytest.raises(UserError, match="the environment variable OPENAI_API_KEY, which is not set"):
        OpenAIServer(OpenAIBackend(type="openai", model="m"), Spending())


def test_a_refused_key_and_an_empty_account_stop_the_work() -> None:
    with pytest.raises(WorkError, match="refuses the key in OPENAI_API_KEY: HTTP 401"):
        ask(lambda exchange, number: exchange.refuse(401, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(WorkError, match=r"the account at .* is used up"):
        ask(lambda exchange, number: exchange.refuse(429, "You exceeded your quota", "insufficient_quota"))


def test_the_key_is_in_no_reply_message_log_or_representation(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = [f"key {KEY}", f"{KEY}"]
    reply, server = ask(lambda exchange, number: exchange.refuse(500, said[0]), retries=1)
    assert "key ***" in (reply.failure or "")
    assert KEY not in repr(reply)
    for status in (400, 401):
        with pytest.raises(WorkError) as error:
            ask(lambda exchange, number, status=status: exchange.refuse(status, said[1]))  # type: ignore[misc]
        assert KEY not in str(error.value)
    ask(lambda exchange, number: exchange.say("[[A]]"))
    client = OpenAIServer(backend(server), Spending())
    assert KEY not in repr(client) + client.identity + repr(backend(server))
    assert KEY not in caplog.text


def test_money_is_counted_and_the_limit_stops_before_the_next_request() -> None:
    prices = {"prompt": 10.0, "completion": 100.0}
    spending = Spending(limit=0.005)

    async def one_by_one(server: Endpoint) -> None:
        client = OpenAIServer(backend(server, prices=prices, concurrency=1), spending)
        await client.chats([REQUEST] * 10)

    with (
        endpoint(lambda exchange, number: exchange.say("[[A]]")) as server,
        pytest.raises(WorkError, match=r"judge.max_cost: 0\.01 USD spent .* raise judge.max_cost and run the same"),
    ):
        asyncio.run(one_by_one(server))
    # 100 tokens at 10 and 10 tokens at 100 a million are 0.002 each time.
    assert len(server.requests) == 3
    assert spending.spent == pytest.approx(0.006)


def test_a_limit_needs_an_endpoint_that_reports_its_tokens() -> None:
    with pytest.raises(WorkError, match="does not say how many tokens"):
        ask(lambda exchange, number: exchange.say("x", tokens=None), spending=Spending(limit=1.0))
    reply, _ = ask(lambda exchange, number: exchange.say("x", tokens=None))
    assert (reply.text, reply.prompt_tokens) == ("x", 0)


def judge_file(folder: Path, server_url: str, extra: str = "") -> str:
    (folder / "p.md").write_text(
        "---\nkind: pairwise\nverdict: label\npattern: '\\[\\[([AB])\\]\\]'\nchoices: [A, B]\n---\n{% block user %}\n"
        "{{ question }}\n{{ answer_a | quoted }}\n{{ answer_b | quoted }}\n{% endblock %}\n",
        encoding="utf-8",
    )
    path = folder / "remote.yaml"
    path.write_text(
        "kind: llm\nprompt: ./p.md\nbackend:\n  type: openai\n  model: m\n  retries: 1\n"
        f"  base_url: {server_url}\n{extra}",
        encoding="utf-8",
    )
    return str(path)


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
        limited_spending(remote, 1.0)
    with pytest.raises(UserError, match=r"judge\.max_cost: judge reference asks no endpoint that charges"):
        limited_spending(load_judge_file("reference"), 1.0)
    priced = load_judge_file(
        judge_file(tmp_path, "http://localhost/v1", "  prices: {prompt: 1, completion: 2, currency: EUR}")
    )
    account = limited_spending(priced, 2.0, spent=2.5)
    with pytest.raises(WorkError, match=r"2\.50 EUR spent on the judge, and 2 is the limit"):
        account.check()
    limited_spending(priced, None).check()
