"""Requests to an endpoint, against a real server on this machine: what is sent and read, money, and a hidden key."""

import asyncio
import json
import logging
import math
import time
from pathlib import Path

import pytest

from rlaif.data.question import Question
from rlaif.errors import UserError, WorkError
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.requests import ChatReply, ChatRequest
from rlaif.judges.build import build_judge
from rlaif.judges.judge_file import load_judge_file
from rlaif.recipe.judge import OpenAIBackend
from tests.endpoint import Endpoint, Exchange, endpoint
from tests.openai_server import KEY, MESSAGES, REQUEST, ask, ask_choices, backend, logprobs


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)


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
