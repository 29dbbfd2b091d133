"""Sends requests to an endpoint through OpenAI's client, and returns what comes back.

Invariant: no response raises; the key and the headers of the judge file are sent to no other URL, and shown nowhere.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rlaif.inference.completions import Completion, Failure, read_completion
from rlaif.inference.credentials import Credentials
from rlaif.inference.limits import Spending
from rlaif.inference.per_loop import PerLoop
from rlaif.inference.refusals import NO_MONEY, ProviderError, read_error
from rlaif.inference.retrying import redirection
from rlaif.recipe.judge import OpenAIBackend

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for a request.

    Attributes:
        answer: the answer or failure.
        tries: that it took.
        arrived: whether it had status 200.
    """

    answer: Completion
    tries: int
    arrived: bool


class EndpointClient:
    """Connections to one endpoint.

    Args:
        backend: of the judge file.
        credentials: what is sent along.
        spending: is checked before each try.
    """

    def __init__(self, backend: OpenAIBackend, credentials: Credentials, spending: Spending) -> None:
        self._backend, self._credentials, self._spending = backend, credentials, spending
        self._connections = PerLoop(self._connect, owner=f"{backend.model} at {backend.base_url}")

    async def close(self) -> None:
        """Close the connections; nothing is sent any more."""
        if (opened := self._connections.close()) is not None:
            await opened[0].close()

    def in_turn(self) -> asyncio.Semaphore:
        """Return what to enter for as long as a request is on its way or waits to be repeated."""
        return self._connections.get()[1]

    async def send(self, body: Mapping[str, Any], retries: int) -> Response:
        """Send a request; the client repeats what may pass, as `OpenAIBackend.retries` says."""
        import openai

        client = self._connections.get()[0].with_options(max_retries=retries)
        headers: Any = None if self._credentials.key else {"Authorization": openai.Omit()}
        more = {key: value for key, value in body.items() if key != "messages"}
        try:
            raw = await client.chat.completions.with_raw_response.create(
                model=self._backend.model,
                messages=body["messages"],
                extra_headers=headers,
                extra_body={**more, **self._backend.extra_body},
            )
        except (openai.APIStatusError, openai.APIConnectionError, UnicodeEncodeError) as error:
            request = getattr(error, "request", None)
            tries = 1 + int(request.headers.get("x-stainless-retry-count", 0) if request else 0)
            return Response(self._of_exception(error), tries, arrived=False)
        return Response(read_completion(_json(raw.http_response)), 1 + raw.retries_taken, arrived=True)

    def _of_exception(self, error: Exception) -> Completion:
        import openai

        if isinstance(error, openai.APIStatusError):
            if elsewhere := redirection(error.status_code, error.response.headers.get("Location", "")):
                return Completion(error=ProviderError(error.status_code, "", "", elsewhere))
            return Completion(error=read_error(error.status_code, _json(error.response)))
        if isinstance(error, UnicodeEncodeError):
            reason = "the question holds half of a surrogate pair, which is no text that can be sent"
            return Completion(failure=Failure("content", reason))
        if isinstance(error, openai.APITimeoutError):
            return Completion(failure=Failure("connection", f"no answer in {self._backend.timeout:g} seconds"))
        reason = self._credentials.line(f"no connection: {error.__cause__ or error}")
        return Completion(failure=Failure("connection", reason))

    def _connect(self) -> "tuple[AsyncOpenAI, asyncio.Semaphore]":
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        client = AsyncOpenAI(
            api_key=self._credentials.key or "none",
            base_url=self._backend.base_url,
            timeout=self._backend.timeout,
            max_retries=self._backend.retries,
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False,
                event_hooks={"request": [self._before_sending], "response": [_do_not_repeat_in_vain]},
            ),
        )
        return client, asyncio.Semaphore(self._backend.concurrency)

    async def _before_sending(self, request: Any) -> None:
        self._spending.check()
        # Here, since the client would log headers that it was given.
        request.headers.update(self._credentials.headers)


def _json(response: Any) -> object:
    """Return a response's JSON value, or its text where that is none."""
    try:
        return response.json()
    except (ValueError, RecursionError):
        return response.text


async def _do_not_repeat_in_vain(response: Any) -> None:
    """Tell the client not to repeat what the server does not implement, nor a request to an account that is used up,
    which OpenAI reports as a rate limit."""
    no_money = response.status_code == 429 and NO_MONEY.encode() in await response.aread()
    if no_money or response.status_code == 501:
        response.headers["x-should-retry"] = "false"
