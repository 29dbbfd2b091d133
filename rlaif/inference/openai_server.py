"""Judges' models behind an endpoint that speaks OpenAI's protocol.

Invariant: every request gets exactly one reply, an answer or a failure of one line; no more than `concurrency` of them
are on their way or wait to be repeated; and the key, which comes from the environment alone, is in no reply, message
or representation.
"""

import asyncio
import json
import math
import os
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlaif.errors import UserError, WorkError
from rlaif.inference.backends import OpenAIBackend
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.retry_wait import LONGEST_WAIT, asked_wait, wait_before
from rlaif.inference.spending import Spending

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletion

Reply = TypeVar("Reply", ChatReply, ChoiceReply)

_TOP_LOGPROBS = 20
"""As many of a token's alternatives as the protocol gives."""
_LONGEST_REASON = 300


def read_key(backend: OpenAIBackend) -> str | None:
    """Return an endpoint's key from the environment; None for one that wants none.

    Raises:
        UserError: the variable is not set.
    """
    if backend.api_key_env is None:
        return None
    key = os.environ.get(backend.api_key_env, "").strip()
    if not key:
        raise UserError(
            f"{backend.model} at {backend.base_url}: expected its key in the environment variable "
            f"{backend.api_key_env}, which is not set (backend.api_key_env of the judge file; null wants none)"
        )
    return key


class OpenAIServer:
    """Serves a judge's model through an endpoint.

    Args:
        backend: the judge file's section.
        spending: counts what is paid and says when to stop.

    Raises:
        UserError: the key is not in the environment.
    """

    def __init__(self, backend: OpenAIBackend, spending: Spending) -> None:
        self._backend, self._spending = backend, spending
        self._key = read_key(backend)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(backend.concurrency)

    @property
    def identity(self) -> str:
        """What names the weights that answer."""
        return json.dumps(self._backend.identity, sort_keys=True)

    async def chats(self, requests: Sequence[ChatRequest]) -> list[ChatReply]:
        """Answer questions with a text each; see `ModelBackend`.

        Raises:
            WorkError: the endpoint refuses the key, its account is empty, or the spending limit is reached.
        """
        return await _all(self._chat(request) for request in requests)

    async def choices(self, requests: Sequence[ChoiceRequest]) -> list[ChoiceReply]:
        """Answer questions with the log-probabilities of a few choices; see `ModelBackend`.

        The endpoint gives the likeliest tokens alone: a choice that is not among them has -inf.

        Raises:
            WorkError: as `chats`.
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
        answer = await self._complete(arguments)
        if isinstance(answer.completion, str):
            return ChatReply("", "", 0, 0, answer.seconds, failure=answer.completion)
        choice = answer.completion.choices[0]
        cost = (answer.prompt_tokens, answer.completion_tokens, answer.seconds)
        if choice.finish_reason == "content_filter":
            return ChatReply("", "", *cost, failure="the endpoint's content filter stopped the answer")
        text = choice.message.content or getattr(choice.message, "refusal", None) or ""
        return ChatReply(text, choice.finish_reason or "stop", *cost)

    async def _choose(self, request: ChoiceRequest) -> ChoiceReply:
        if request.prefix:
            raise ValueError("an endpoint does not let a prefix begin its model's answer")
        arguments = {
            "messages": request.messages,
            self._backend.token_limit: 1,
            "logprobs": True,
            "top_logprobs": _TOP_LOGPROBS,
            # Some servers scale log-probabilities by the temperature; 1 leaves them as they are.
            "temperature": 1.0,
        }
        answer = await self._complete(arguments)
        if isinstance(answer.completion, str):
            return ChoiceReply([], 0, 0, answer.seconds, failure=answer.completion)
        choice = answer.completion.choices[0]
        cost = (answer.prompt_tokens, answer.completion_tokens, answer.seconds)
        steps = choice.logprobs.content if choice.logprobs else None
        if not steps:
            reason = f"{self._backend.model} gives no log-probabilities; expected a prompt of another verdict for it"
            return ChoiceReply([], *cost, failure=reason)
        given = {entry.token: entry.logprob for entry in steps[0].top_logprobs or []}
        given.setdefault(steps[0].token, steps[0].logprob)
        return ChoiceReply([_logprob(choice, given) for choice in request.choices], *cost, text=steps[0].token)

    async def _complete(self, arguments: dict[str, Any]) -> "_Answer":
        """Return the endpoint's answer, or after the last try the reason why there is none."""
        client = self._connect()
        async with self._slots:
            started = time.monotonic()
            for attempt in range(1, self._backend.retries + 2):
                self._spending.check()
                completion, wait = await self._try(client, arguments)
                if not isinstance(completion, str):
                    return self._paid(completion, time.monotonic() - started)
                if wait is None or wait > LONGEST_WAIT or attempt > self._backend.retries:
                    break
                await asyncio.sleep(wait_before(attempt, wait or None))
            tries = f" ({attempt} tries)" if attempt > 1 else ""
            return _Answer(f"{completion}{tries}", 0, 0, time.monotonic() - started)

    async def _try(
        self, client: "AsyncOpenAI", arguments: dict[str, Any]
    ) -> "tuple[ChatCompletion | str, float | None]":
        """Try once.

        Returns:
            The completion; or the reason why there is none, and how long the server asks to wait before the next try,
            0 where it does not say; None where no other try can end otherwise.
        """
        import openai
        from openai.types.chat import ChatCompletion

        no_key = None if self._key else {"Authorization": openai.Omit()}
        try:
            async with asyncio.timeout(self._backend.timeout):
                completion = await client.chat.completions.create(
                    model=self._backend.model, extra_headers=no_key, **arguments
                )
        except (TimeoutError, openai.APITimeoutError):
            return f"no answer in {self._backend.timeout:g} seconds", 0.0
        except openai.APIStatusError as error:
            return self._refused(error)
        except openai.APIConnectionError as error:
            return self._line(f"no connection: {error.__cause__ or error}"), 0.0
        except UnicodeEncodeError:
            return "the question holds half of a surrogate pair, which is no text that can be sent", None
        except (openai.APIError, ValueError) as error:
            return self._line(f"an answer that is none: {error}"), 0.0
        if (
            not isinstance(completion, ChatCompletion)
            or not completion.choices
            or completion.choices[0].message is None
        ):
            return "an answer that is no chat completion", 0.0
        return completion, None

    def _refused(self, error: Any) -> tuple[str, float | None]:
        status, reason = int(error.status_code), self._line(f"HTTP {error.status_code}: {error.message}")
        if status == 401:
            where = f"the key in {self._backend.api_key_env}" if self._key else "a request without a key"
            raise WorkError(f"{self._backend.base_url} refuses {where}: {reason}")
        if status == 429 and error.code == "insufficient_quota":
            raise WorkError(f"the account at {self._backend.base_url} is used up: {reason}")
        if status in (408, 409, 429) or status >= 500:
            return reason, asked_wait(error.response.headers) or 0.0
        return reason, None

    def _paid(self, completion: "ChatCompletion", seconds: float) -> "_Answer":
        usage = completion.usage
        if usage is None and self._spending.limit is not None:
            raise WorkError(
                f"{self._backend.base_url} does not say how many tokens it charges for; {self._spending.name} "
                "cannot be held"
            )
        prompt_tokens, completion_tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (0, 0)
        self._spending.add(self._backend.prices, prompt_tokens, completion_tokens)
        return _Answer(completion, prompt_tokens, completion_tokens, seconds)

    def _line(self, text: str) -> str:
        """Return a text as one line of bearable length, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        line = " ".join(text.split())
        return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}..."

    def _connect(self) -> "AsyncOpenAI":
        # Connections and semaphores belong to the event loop that they were first used in.
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            from openai import AsyncOpenAI

            self._client = AsyncOpenAI(
                api_key=self._key or "none",
                base_url=self._backend.base_url,
                timeout=self._backend.timeout,
                max_retries=0,
            )
            self._slots, self._loop = asyncio.Semaphore(self._backend.concurrency), loop
        return self._client


@dataclass(frozen=True, slots=True)
class _Answer:
    """A completion, or the reason why there is none, with what it cost."""

    completion: "ChatCompletion | str"
    prompt_tokens: int
    completion_tokens: int
    seconds: float


async def _all(replies: Iterable[Coroutine[Any, Any, Reply]]) -> list[Reply]:
    """Wait for all replies, and then raise the first error: what was on its way is paid, and so it is counted."""
    asked = list(replies)
    if len(asked) == 1:
        # In the task of whoever asks: from its answer to what they do with it, no other question is sent and no end
        # comes, so that whoever keeps answers has kept all that are paid but those on their way.
        return [await asked[0]]
    done = await asyncio.gather(*asked, return_exceptions=True)
    for reply in done:
        if isinstance(reply, BaseException):
            raise reply
    return cast("list[Reply]", done)


def _logprob(choice: str, given: Mapping[str, float]) -> float:
    """Return a choice's log-probability: of all tokens that are it but for the white space around it, together."""
    found = [logprob for token, logprob in given.items() if token.strip() == choice]
    if not found:
        return -math.inf
    best = max(found)
    return best + math.log(math.fsum(math.exp(logprob - best) for logprob in found))
