"""Endpoints as providers have them: odd replies, refused parameters and errors, each a verdict, a failure or an end."""

import asyncio
import logging
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.errors import Notice, WorkError
from rlaif.inference.completions import read_completion
from rlaif.inference.limits import Spending
from rlaif.inference.openai_server import OpenAIServer
from rlaif.inference.refusals import read_error
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.prompts.front_matter import PairwiseLogprob
from rlaif.recipe.judge import OpenAIBackend
from tests.endpoint import Endpoint, Exchange, endpoint
from tests.odd_replies import (
    ABOUT_THE_TEXT,
    NO_LOGPROBS,
    ODD_REPLIES,
    REFUSALS,
    SAME_FOR_ALL,
    TOP_LOGPROBS,
    Odd,
    Refusal,
    completion,
)

MESSAGES = [{"role": "user", "content": "Which? Answer as JSON."}]
SCHEMA = '{"type": "object", "properties": {"choice": {"enum": ["A", "B"]}}}'
REQUEST = ChatRequest(MESSAGES, 64)
FULL = ChatRequest(MESSAGES, 64, 0.7, 5, SCHEMA)
CHOICES = ChoiceRequest(MESSAGES, ("A", "B"))
Answer = Callable[[Exchange, int], None]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("rlaif.inference.retrying.FIRST_PAUSE", 0.01)


def ask(
    answer: Answer,
    requests: Sequence[ChatRequest | ChoiceRequest],
    spending: Spending | None = None,
    **options: Any,
) -> tuple[list[ChatReply | ChoiceReply], Endpoint]:
    """Send requests one after another through one server."""

    async def work(server: Endpoint) -> list[ChatReply | ChoiceReply]:
        values = {"retries": 1, "api_key_env": None, **options}
        backend = OpenAIBackend(type="openai", model="m", base_url=server.url, **values)
        client = OpenAIServer(backend, spending or Spending())
        replies: list[ChatReply | ChoiceReply] = []
        try:
            for request in requests:
                if isinstance(request, ChatRequest):
                    replies += await client.chats([request])
                else:
                    replies += await client.choices([request])
        finally:
            await client.close()
        return replies

    with endpoint(answer) as server:
        return asyncio.run(work(server)), server


@pytest.mark.parametrize("odd", ODD_REPLIES.values(), ids=ODD_REPLIES)
def test_an_odd_reply_is_a_text_or_a_failure(odd: Odd) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.say("[[B]]") if number == 1 else exchange.send_json(odd.body)

    (_, reply), server = ask(answer, [REQUEST, REQUEST])
    assert isinstance(reply, ChatReply)
    assert (reply.text, odd.failure in (reply.failure or "")) == (odd.text, True)
    assert bool(reply.failure) == bool(odd.failure)
    assert (reply.prompt_tokens, reply.completion_tokens) == odd.tokens
    assert len(server.requests) == 1 + odd.tries


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        [1],
        {"content": None},
        {"content": []},
        {"content": [None]},
        {"content": {"token": "A"}},
        {"content": [{"token": None, "logprob": None}]},
        {"content": [{"token": "A", "logprob": -0.1}]},
        {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": None}]},
        {"content": [{"token": "A", "logprob": None, "top_logprobs": [{"token": "A", "logprob": None}, None, 7]}]},
    ],
)
def test_without_alternatives_there_is_no_verdict(logprobs: Any) -> None:
    (reply,), _ = ask(lambda exchange, number: exchange.say("A", logprobs=logprobs), [CHOICES])
    assert (reply.failure or "").startswith("m gives no log-probabilities; choose a prompt with another verdict")


@pytest.mark.parametrize(
    ("entry", "known"),
    [
        ({"token": "B", "logprob": None}, False),
        ({"token": "B", "logprob": "-1"}, False),
        ({"token": "B", "logprob": -(10**400)}, False),
        ({"token": None, "logprob": -1}, False),
        (None, False),
        ({"token": "The", "logprob": None}, False),
        ({"token": "The", "logprob": -1}, True),
    ],
)
def test_a_choice_that_an_unreadable_alternative_may_be_has_no_log_probability(entry: Any, known: bool) -> None:
    step = {"token": "A", "logprob": -0.5, "top_logprobs": [{"token": "A", "logprob": -0.5}, entry]}
    (reply,), _ = ask(lambda exchange, number: exchange.say(None, logprobs={"content": [step]}), [CHOICES])
    assert isinstance(reply, ChoiceReply)
    first, second = reply.logprobs
    assert (first, second == -math.inf, math.isnan(second)) == (-0.5, known, not known)
    assert (reply.text, reply.failure) == ("A", None)
    reading = PairwiseLogprob(kind="pairwise", verdict="logprob", choices=("A", "B")).of_logprobs(reply.logprobs)
    assert reading.status == ("ok" if known else "unparsed")


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_parameter_is_changed_once_remembered_and_said(refusal: Refusal) -> None:
    def answer(exchange: Exchange, number: int) -> None:
        body = exchange.server.requests[number - 1]
        schema = refusal.parameter != "response_format" or body.get("response_format", {}).get("type") == "json_schema"
        if refusal.parameter in body and schema:
            return exchange.send_json(refusal.body, refusal.status)
        return exchange.say("[[A]]")

    with pytest.warns(Notice, match=f"^m at http.* refuses {refusal.parameter}: ") as said:
        replies, server = ask(answer, [FULL, FULL])
    assert [reply.failure for reply in replies] == [None, None]
    first, *others = server.requests
    assert len(others) == 2
    assert others[0] == others[1]
    rest = {key: value for key, value in first.items() if key != refusal.parameter}
    assert others[0] == {**rest, **(refusal.instead or {})}
    assert len(said) == 1


def test_both_names_of_the_limit_are_tried_and_no_third_time() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        name = "max_tokens" if "max_tokens" in exchange.server.requests[number - 1] else "max_completion_tokens"
        exchange.refuse(400, f"Unsupported parameter: '{name}'")

    with pytest.warns(Notice), pytest.raises(WorkError, match="refuses every request: HTTP 400: Unsupported parameter"):
        ask(answer, [REQUEST])

    def other(exchange: Exchange, number: int) -> None:
        body = exchange.server.requests[number - 1]
        if "max_completion_tokens" in body:
            return exchange.refuse(400, "Unrecognized request argument supplied: max_completion_tokens")
        return exchange.say("[[A]]")

    with pytest.warns(Notice, match="refuses max_completion_tokens: max_tokens is sent instead"):
        (reply,), _ = ask(other, [REQUEST], token_limit="max_completion_tokens")
    assert reply.failure is None


def test_a_model_that_reasons_works_as_a_judge() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        body = exchange.server.requests[number - 1]
        for name in ("max_tokens", "temperature", "seed"):
            if name in body:
                return exchange.refuse(400, f"Unsupported parameter: '{name}' is not supported with this model.")
        return exchange.say("[[A]]", tokens=(7, 900))

    with pytest.warns(Notice) as said:
        replies, server = ask(answer, [FULL, REQUEST], reasoning_effort="low")
    assert [reply.failure for reply in replies] == [None, None]
    assert len(said) == 3
    assert len(server.requests) == 5
    assert server.requests[-1] == {
        "model": "m", "messages": MESSAGES, "max_completion_tokens": 64, "reasoning_effort": "low",
    }  # fmt: skip


def test_a_schema_falls_back_to_json_and_then_to_nothing() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        kind = exchange.server.requests[number - 1].get("response_format", {}).get("type")
        exchange.refuse(400, f"response_format {kind} is not supported") if kind else exchange.say("{}")

    with pytest.warns(Notice) as said:
        (reply, again), server = ask(answer, [FULL, FULL])
    assert (reply.failure, again.failure, len(server.requests)) == (None, None, 4)
    changes = ("refuses response_format: json_object is sent instead", "refuses response_format: it is left out")
    assert all(change in str(each.message) for change, each in zip(changes, said, strict=True))


@pytest.mark.parametrize(("error", "most"), TOP_LOGPROBS.values(), ids=TOP_LOGPROBS)
def test_fewer_alternatives_are_asked_for_where_the_model_gives_fewer(error: Any, most: int) -> None:
    entries = [{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": -1.5}]

    def answer(exchange: Exchange, number: int) -> None:
        if exchange.server.requests[number - 1]["top_logprobs"] > most:
            return exchange.send_json(error, 400)
        return exchange.say("A", logprobs={"content": [{**entries[0], "top_logprobs": entries}]})

    with pytest.warns(Notice, match=f"refuses top_logprobs: {most} is sent instead"):
        (reply,), server = ask(answer, [CHOICES])
    assert isinstance(reply, ChoiceReply)
    assert (reply.logprobs, [body["top_logprobs"] for body in server.requests]) == ([-0.5, -1.5], [20, most])


def test_a_longest_answer_below_the_models_least_is_raised_to_it() -> None:
    entries = [{"token": "A", "logprob": -0.5}, {"token": "B", "logprob": -1.5}]

    def answer(exchange: Exchange, number: int) -> None:
        if exchange.server.requests[number - 1]["max_tokens"] < 16:
            return exchange.refuse(400, "Invalid 'max_tokens': integer below minimum value. Expected a value >= 16.")
        return exchange.say("A", logprobs={"content": [{**entries[0], "top_logprobs": entries}]})

    with pytest.warns(Notice, match="refuses max_tokens: 16 is sent instead"):
        replies, server = ask(answer, [CHOICES, CHOICES, REQUEST])
    assert [reply.failure for reply in replies] == [None, None, None]
    assert [body["max_tokens"] for body in server.requests] == [1, 16, 16, 64]


@pytest.mark.parametrize(("status", "error"), NO_LOGPROBS.values(), ids=NO_LOGPROBS)
def test_log_probabilities_are_never_done_without(status: int, error: Any) -> None:
    with pytest.raises(WorkError, match=r"m at http.* gives no log-probabilities; choose a prompt"):
        ask(lambda exchange, number: exchange.send_json(error, status), [CHOICES])


@pytest.mark.parametrize(("status", "error", "said"), SAME_FOR_ALL.values(), ids=SAME_FOR_ALL)
def test_an_error_that_every_request_would_get_ends_the_work(status: int, error: Any, said: str) -> None:
    with pytest.raises(WorkError, match=f"http.*{said}") as ended:
        ask(lambda exchange, number: exchange.send_json(error, status), [REQUEST, REQUEST])
    assert "\n" not in str(ended.value)


@pytest.mark.parametrize(("status", "error"), ABOUT_THE_TEXT.values(), ids=ABOUT_THE_TEXT)
def test_an_error_about_one_text_is_that_requests_failure(status: int, error: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replies, server = ask(lambda exchange, number: exchange.send_json(error, status), [REQUEST] * 30)
    assert all((reply.failure or "").startswith(f"HTTP {status}: ") for reply in replies)
    assert len(server.requests) == 30


def test_a_400_after_answers_is_one_requests_failure() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.refuse(400, "odd") if number == 2 else exchange.say("[[A]]")

    replies, _ = ask(answer, [REQUEST] * 3)
    assert [reply.failure for reply in replies] == [None, "HTTP 400: odd", None]


def test_too_many_errors_end_the_work_with_the_providers_words() -> None:
    def answer(exchange: Exchange, number: int) -> None:
        exchange.refuse(503, "engine is dead") if number % 3 else exchange.say("[[A]]")

    with pytest.raises(WorkError, match=r"14 of the last 20 requests failed.*0\.5.*HTTP 503: engine is dead"):
        ask(answer, [REQUEST] * 40, retries=0)
    for most in (0.7, 1.0):
        replies, _ = ask(answer, [REQUEST] * 40, retries=0, max_error_share=most)
        assert sum(reply.failure is not None for reply in replies) == 27
    half, _ = ask(
        lambda exchange, number: exchange.say("[[A]]") if number % 2 else exchange.refuse(503, "busy"),
        [REQUEST] * 40,
        retries=0,
    )
    assert len(half) == 40


def test_an_answer_that_fails_is_paid_and_no_limit_is_passed_unseen() -> None:
    spending, prices = Spending(limit=1.0), {"prompt": 10.0, "completion": 100.0}
    ask(lambda exchange, number: exchange.say(""), [REQUEST], spending, prices=prices)
    assert spending.spent == pytest.approx(0.002)
    body = completion("[[A]]", usage={"prompt_tokens": 7, "completion_tokens": None})
    with pytest.raises(WorkError, match="does not say how many tokens"):
        ask(lambda exchange, number: exchange.send_json(body), [REQUEST], Spending(limit=1.0), prices=prices)


def test_the_keys_of_a_backend_are_sent(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("TEAM_TOKEN", "tok-4711-secret")
    caplog.set_level(logging.DEBUG)
    headers = {"api-key": "${TEAM_TOKEN}", "X-Team": "team ${TEAM_TOKEN} blue", "Authorization": "Basic ${TEAM_TOKEN}"}

    def answer(exchange: Exchange, number: int) -> None:
        exchange.say("[[A]]") if number == 1 else exchange.refuse(400, "no tok-4711-secret here")

    more = {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}, "top_p": 0.9, "reasoning_effort": "low"}
    replies, server = ask(answer, [REQUEST, REQUEST], headers=headers, **more)
    assert {name: server.headers[0][name.lower()] for name in headers} == {
        "api-key": "tok-4711-secret",
        "X-Team": "team tok-4711-secret blue",
        "Authorization": "Basic tok-4711-secret",
    }
    assert server.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}
    assert (server.requests[0]["top_p"], server.requests[0]["reasoning_effort"]) == (0.9, "low")
    assert replies[1].failure == "HTTP 400: no *** here"
    assert "4711" not in caplog.text


def test_variables_within_a_headers_words_are_hidden_and_ordinary_words_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TOKEN", "hunter")
    headers = {"X-Key": "team-${TOKEN}", "X-Note": "please research S3cret-word", "X-Sent": "Bearer lowercase"}
    said = "please wait: Bearer hunter, research S3cret-word lowercase"
    (reply,), _ = ask(lambda exchange, number: exchange.refuse(500, said), [REQUEST], headers=headers, retries=0)
    assert reply.failure == "HTTP 500: please wait: Bearer ***, research *** ***"


def test_a_redirect_is_refused_and_not_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other server would be sent the headers, and with them what is secret."""
    monkeypatch.setenv("TOKEN", "tok-4711-secret")
    with endpoint(lambda exchange, number: exchange.say("[[A]]")) as other:
        where = f"{other.url.replace('http://', 'http://user:word@')}/chat?token=1"
        expected = f"refuses every request: HTTP 307: redirects to {other.url}/chat; expected the URL that answers"
        with pytest.raises(WorkError, match=re.escape(expected)):
            ask(lambda exchange, number: exchange.send(307, b"", Location=where), [REQUEST],
                headers={"X-Key": "${TOKEN}"})  # fmt: skip
    assert other.requests == []


def test_half_a_surrogate_pair_of_a_provider_can_be_stored() -> None:
    step = {"token": "\ud83d", "logprob": -0.5, "top_logprobs": [{"token": "\ud83d", "logprob": -0.5}]}

    def answer(exchange: Exchange, number: int) -> None:
        (
            exchange.refuse(400, "no \ud83d")
            if number == 3
            else exchange.say("[[A]] \ud83d", logprobs={"content": [step]})
        )

    (text, choices, refused), _ = ask(answer, [REQUEST, CHOICES, REQUEST])
    assert [text.text, choices.text, refused.failure] == ["[[A]] \\ud83d", "\\ud83d", "HTTP 400: no \\ud83d"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["choices", "message", "content", "usage", "error", "logprobs", "finish_reason", "type", "text",
                         "top_logprobs", "token", "logprob", "prompt_tokens", "total_tokens", "code", "param", "detail",
                         "loc", "metadata", "raw", "object"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(json_values)
def test_no_body_raises(body: Any) -> None:
    for value in (body, completion(body), completion("x", logprobs=body), {"error": body}, {"choices": [body]}):
        read = read_completion(value)
        assert read.failure is not None or read.error is not None or read.finish_reason in ("stop", "length")
    assert isinstance(read_error(400, body).words, str)
