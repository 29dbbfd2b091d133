"""Judges' models behind an endpoint that speaks OpenAI's protocol, and what they may cost.

Invariant: every request gets exactly one reply, an answer or a failure of one line; at most `concurrency` requests are
on their way or wait to be repeated; and the key, which is read only from the environment, appears in no reply, message
or representation.
"""

import asyncio
import json
import os
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from rlaif.errors import UserError, WorkError
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.recipe.judge import OpenAIBackend, Prices

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion
    from openai.types.chat.chat_completion import Choice

Reply = TypeVar("Reply", ChatReply, ChoiceReply)
Cost = tuple[int, int, float]
"""Prompt tokens, completion tokens and seconds, as the fields of a reply follow each other."""

_TOP_LOGPROBS = 20
"""The protocol's limit on a token's alternatives."""
_LONGEST_REASON = 300
_PAUSE = 0.5
"""Seconds before a request with a malformed response is repeated."""
_NO_MONEY = "insufficient_quota"


@dataclass(slots=True)
class Spending:
    """Money spent on judges' verdicts.

    Invariant: every answer is counted once, by the endpoint's own token counts and the judge file's prices, and no
    request is sent once the limit is reached. Requests already on their way are still paid.

    Attributes:
        limit: at which to stop, or None.
        spent: so far, including earlier starts of the same run.
        name: of the setting with the limit, for the message.
    """

    limit: float | None = None
    spent: float = 0.0
    currency: str = "USD"
    name: str = "judge.max_cost"

    def check(self) -> None:
        """Raise WorkError, with a message on how to go on, if the limit is reached."""
        if self.limit is not None and self.spent >= self.limit:
            raise WorkError(
                f"{self.name}: {self.spent:.2f} {self.currency} spent on the judge, and {self.limit:g} is the limit; "
                f"what is judged is kept. To go on, raise {self.name} and run the same command"
            )

    def add(self, prices: Prices | None, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one answer."""
        if prices is not None:
            self.spent += prices.cost(prompt_tokens, completion_tokens)


def read_key(backend: OpenAIBackend) -> str | None:
    """Return an endpoint's key from the environment; None for an endpoint that needs none."""
    if backend.api_key_env is None:
        return None
    key = os.environ.get(backend.api_key_env, "").strip()
    if not key:
        raise UserError(
            f"{backend.model} at {backend.base_url}: expected its key in the environment variable "
            f"{backend.api_key_env}, which is not set (backend.api_key_env of the judge file; null sends no key)"
        )
    return key


class OpenAIServer:
    """Serves a judge's model through an endpoint; see `ModelBackend`."""

    def __init__(self, backend: OpenAIBackend, spending: Spending) -> None:
        self._backend, self._spending = backend, spending
        self._key = read_key(backend)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(backend.concurrency)

    @property
    def identity(self) -> str:
        """Names the weights that answer."""
        return json.dumps(self._backend.identity, sort_keys=True)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer each request with a text; raises WorkError where no other request can succeed."""
        return await _all(self._chat(request) for request in requests)

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Answer each request with the log-probabilities of its choices; raises as `chats` does.

        The endpoint returns only the likeliest tokens: a choice that is not among them has -inf.
        """
        return await _all(self._choose(request) for request in requests)

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = self._loop = None

    async def _chat(self, request: ChatRequest) -> ChatReply:
        arguments: dict[str, Any] = {"messages": request.messages, self._backend.token_limit: request.max_tokens}
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.temperature != 0:
            arguments["seed"] = request.seed
        if request.schema is not None:
            schema = {"name": "verdict", "strict": True, "schema": json.loads(request.schema)}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        choice, cost = await self._complete(arguments)
        if isinstance(choice, str):
            return ChatReply("", "", *cost, failure=choice)
        if choice.finish_reason == "content_filter":
            return ChatReply("", "", *cost, failure="the endpoint's content filter stopped the answer")
        text = choice.message.content or getattr(choice.message, "refusal", None) or ""
        return ChatReply(text, choice.finish_reason or "stop", *cost)

    async def _choose(self, request: ChoiceRequest) -> ChoiceReply:
        if request.prefix:
            raise ValueError("no endpoint supports a prefix of its model's answer")
        arguments = {
            "messages": request.messages,
            self._backend.token_limit: 1,
            "logprobs": True,
            "top_logprobs": _TOP_LOGPROBS,
            # Some servers scale log-probabilities by the temperature; 1 leaves them as they are.
            "temperature": 1.0,
        }
        choice, cost = await self._complete(arguments)
        if isinstance(choice, str):
            return ChoiceReply([], *cost, failure=choice)
        steps = choice.logprobs.content if choice.logprobs else None
        if not steps:
            reason = f"{self._backend.model} gives no log-probabilities; choose a prompt with another verdict"
            return ChoiceReply([], *cost, failure=reason)
        given = {entry.token: entry.logprob for entry in steps[0].top_logprobs or []}
        given.setdefault(steps[0].token, steps[0].logprob)
        begun = max(given, key=given.__getitem__)
        logprobs = [_logprob(text, given) for text in request.choices]
        return ChoiceReply(logprobs, *cost, text=begun, text_logprob=given[begun])

    async def _complete(self, arguments: dict[str, Any]) -> "tuple[Choice | str, Cost]":
        """Return the endpoint's answer, or why the last try failed.

        The client repeats what may pass: time-outs, dropped connections, 408, 409, 429 and 5xx, later each time and
        never sooner than the server asks. It passes malformed responses on, which are repeated here.
        """
        import openai

        client = self._connect()
        headers: Any = None if self._key else {"Authorization": openai.Omit()}
        reason, tries = "", 0
        async with self._slots:
            started = time.monotonic()
            while tries <= self._backend.retries:
                if tries:
                    await asyncio.sleep(_PAUSE)
                    client = client.with_options(max_retries=self._backend.retries - tries)
                try:
                    raw = await client.chat.completions.with_raw_response.create(
                        model=self._backend.model, extra_headers=headers, **arguments
                    )
                except (openai.APIStatusError, openai.APIConnectionError, UnicodeEncodeError) as error:
                    sent = getattr(error, "request", None)
                    tries += 1 + int(sent.headers.get("x-stainless-retry-count", 0) if sent else 0)
                    reason = self._reason(error)
                    break
                tries += 1 + raw.retries_taken
                completion = _parsed(raw)
                if not isinstance(completion, str):
                    return completion.choices[0], (*self._paid(completion), time.monotonic() - started)
                reason = self._line(completion)
            reason = f"{reason} ({tries} tries)" if tries > 1 else reason
            return reason, (0, 0, time.monotonic() - started)

    def _reason(self, error: Exception) -> str:
        """Return why a request failed, in one line; raises WorkError where no other request can succeed."""
        import openai

        if isinstance(error, openai.APITimeoutError):
            return f"no answer in {self._backend.timeout:g} seconds"
        if isinstance(error, UnicodeEncodeError):
            return "the question holds half of a surrogate pair, which is no text that can be sent"
        if not isinstance(error, openai.APIStatusError):
            return self._line(f"no connection: {error.__cause__ or error}")
        reason = self._line(f"HTTP {error.status_code}: {error.message}")
        if error.status_code == 401:
            refused = f"the key in {self._backend.api_key_env}" if self._key else "a request without a key"
            raise WorkError(f"{self._backend.base_url} refuses {refused}: {reason}")
        if error.code == _NO_MONEY:
            raise WorkError(f"the account at {self._backend.base_url} is used up: {reason}")
        return reason

    def _paid(self, completion: "ChatCompletion") -> tuple[int, int]:
        """Count the prompt and completion tokens of an answer, and return them."""
        usage = completion.usage
        if usage is None and self._spending.limit is not None:
            raise WorkError(
                f"{self._backend.base_url} does not say how many tokens it charges for; {self._spending.name} "
                "cannot be held"
            )
        tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        self._spending.add(self._backend.prices, *tokens)
        return tokens

    def _line(self, text: str) -> str:
        """Return a text as one line of at most `_LONGEST_REASON` characters, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        line = " ".join(text.split())
        return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."

    def _connect(self) -> "AsyncOpenAI":
        # Connections and semaphores belong to the event loop in which they were first used.
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI, DefaultAsyncHttpxClient

            self._client = AsyncOpenAI(
                api_key=self._key or "none",
                base_url=self._backend.base_url,
                timeout=self._backend.timeout,
                max_retries=self._backend.retries,
                http_client=DefaultAsyncHttpxClient(
                    event_hooks={"request": [self._check_spending], "response": [_do_not_retry_without_money]}
                ),
            )
            self._slots, self._loop = asyncio.Semaphore(self._backend.concurrency), loop
        return self._client

    async def _check_spending(self, request: Any) -> None:
        self._spending.check()


def _parsed(raw: Any) -> "ChatCompletion | str":
    """Return the completion of a response, or what is malformed in it."""
    import openai
    from openai.types.chat import ChatCompletion

    try:
        completion = raw.parse()
    except (openai.APIError, ValueError) as error:
        return f"malformed response: {error}"
    if not isinstance(completion, ChatCompletion) or not completion.choices or completion.choices[0].message is None:
        return "malformed response: not a chat completion"
    return completion


async def _do_not_retry_without_money(response: Any) -> None:
    """Tell the client not to repeat a request to an account that is used up, which OpenAI reports as a rate limit."""
    if response.status_code == 429 and _NO_MONEY.encode() in await response.aread():
        response.headers["x-should-retry"] = "false"


async def _all(replies: Iterable[Coroutine[Any, Any, Reply]]) -> list[Reply]:
    """Wait for all replies, and only then raise the first error: what is on its way is paid, so it must be counted."""
    asked = list(replies)
    if len(asked) == 1:
        # In the caller's own task: between an answer and what the caller does with it, no other request is sent and
        # nothing is cancelled. So a caller that keeps answers keeps all that are paid but those on their way.
        return [await asked[0]]
    done = await asyncio.gather(*asked, return_exceptions=True)
    for reply in done:
        if isinstance(reply, BaseException):
            raise reply
    return cast("list[Reply]", done)


def _logprob(choice: str, given: Mapping[str, float]) -> float:
    """Return a choice's log-probability: that of all tokens together that equal it after stripping."""
    return float(np.logaddexp.reduce([logprob for token, logprob in given.items() if token.strip() == choice.strip()]))
