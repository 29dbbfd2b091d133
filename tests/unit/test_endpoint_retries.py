"""What is sent to an endpoint again, when, and how often, against a real server on this machine."""

import asyncio
import email.utils
import math
import time

import pytest

from rlaif.errors import WorkError
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.requests import ChatRequest
from tests.endpoint import Exchange, endpoint
from tests.openai_server import KEY, REQUEST, ask, backend


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)


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
