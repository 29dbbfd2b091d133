"""Judges' models behind an endpoint that speaks OpenAI's protocol.

Invariant: every request gets exactly one reply, an answer or a failure of one line; at most `concurrency` requests are
on their way or wait to be repeated; and no key or header's value appears in a reply, message or representation.
"""

import asyncio
import json
import math
import time
import warnings
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from rlaif.errors import Notice, WorkError
from rlaif.inference.completions import Completion, Failure, without_text
from rlaif.inference.credentials import read_credentials
from rlaif.inference.endpoint_client import EndpointClient
from rlaif.inference.limits import ErrorShare, Spending
from rlaif.inference.refusals import NO_MONEY, Accepted, ProviderError, change_for, refuses_logprobs
from rlaif.inference.requests import ChatReply, ChatRequest, ChoiceReply, ChoiceRequest
from rlaif.inference.retrying import pause_after
from rlaif.recipe.judge import OpenAIBackend

Reply = TypeVar("Reply", ChatReply, ChoiceReply)
Cost = tuple[int, int, float]
"""Prompt tokens, completion tokens and seconds, as the fields of a reply follow each other."""
Check = Callable[[Completion], Failure | None]

_TOP_LOGPROBS = 20
"""The protocol's limit on a token's alternatives."""
_ALWAYS = (301, 302, 303, 307, 308, 404, 405, 410)


class OpenAIServer:
    """Serves a judge's model through an endpoint; see `ModelBackend`.

    Args:
        backend: of the judge file.
        spending: counts what the endpoint charges.
        accepted: what is known of what the model takes, shared with other judges that ask it.
    """

    def __init__(self, backend: OpenAIBackend, spending: Spending, accepted: Accepted | None = None) -> None:
        self._backend, self._spending, self._accepted = backend, spending, accepted or Accepted()
        self._credentials = read_credentials(backend)
        self._client = EndpointClient(backend, self._credentials, spending)
        self._name = f"{backend.model} at {backend.base_url}"
        self._errors = ErrorShare(backend.max_error_share, self._name)

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

    async def try_out(self, request: ChatRequest | ChoiceRequest, *, engines: bool) -> ChatReply | ChoiceReply:
        """Answer one request before the others are sent.

        Args:
            request: a small one.
            engines: whether engines would start after it, so that an error of the server ends the work as well.

        Raises:
            WorkError: the endpoint cannot answer requests of this kind.
        """
        if isinstance(request, ChatRequest):
            answer, cost = await self._ask_text(request)
        else:
            answer, cost = await self._ask_choice(request)
        if failure := answer.failure:
            in_vain = failure.kind in ("connection", "protocol") or (failure.kind == "server" and engines)
            if in_vain or (failure.kind == "answer" and isinstance(request, ChoiceRequest)):
                raise WorkError(f"{self._name} cannot be asked: {failure.reason}")
            warnings.warn(f"{self._name} failed on its first request: {failure.reason}", Notice, stacklevel=2)
        return _chat_reply(answer, cost) if isinstance(request, ChatRequest) else _choice_reply(request, answer, cost)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def _chat(self, request: ChatRequest) -> ChatReply:
        return _chat_reply(*await self._ask_text(request))

    async def _choose(self, request: ChoiceRequest) -> ChoiceReply:
        return _choice_reply(request, *await self._ask_choice(request))

    async def _ask_text(self, request: ChatRequest) -> tuple[Completion, Cost]:
        arguments: dict[str, Any] = {"messages": request.messages, self._backend.token_limit: request.max_tokens}
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.temperature != 0:
            arguments["seed"] = request.seed
        if self._backend.top_p is not None:
            arguments["top_p"] = self._backend.top_p
        if request.schema is not None:
            schema = {"name": "verdict", "strict": True, "schema": json.loads(request.schema)}
            arguments["response_format"] = {"type": "json_schema", "json_schema": schema}
        return await self._complete(arguments, lambda given: without_text(given, request.max_tokens))

    async def _ask_choice(self, request: ChoiceRequest) -> tuple[Completion, Cost]:
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
        return await self._complete(arguments, self._without_logprobs)

    def _without_logprobs(self, answer: Completion) -> Failure | None:
        if answer.alternatives:
            return None
        given = f"{self._backend.model} gives no log-probabilities"
        return Failure("answer", f"{given}; choose a prompt with another verdict, or a judge's reasoning form")

    async def _complete(self, arguments: dict[str, Any], check: Check) -> tuple[Completion, Cost]:
        """Return what a request came to, and what all its tries cost.

        Args:
            arguments: of the request.
            check: returns why an answer cannot be used, or None.
        """
        if self._backend.reasoning_effort is not None:
            arguments = {**arguments, "reasoning_effort": self._backend.reasoning_effort}
        async with self._client.in_turn():
            started = time.monotonic()
            answer, tokens, tries = await self._tries(arguments)
            answer = answer if answer.failure else replace(answer, failure=check(answer))
            if answer.failure is not None:
                reason = f"{answer.failure.reason} ({tries} tries)" if tries > 1 else answer.failure.reason
                answer = replace(answer, failure=replace(answer.failure, reason=reason))
            self._errors.count(answer.failure)
            return answer, (*tokens, time.monotonic() - started)

    async def _tries(self, arguments: dict[str, Any]) -> tuple[Completion, tuple[int, int], int]:
        """Send a request until it is answered, and return the answer or failure, all tokens, and the number of tries.

        The client repeats what may pass: time-outs, dropped connections, 408, 409, 429 and 5xx, later each time and
        never sooner than the server asks. Errors and malformed responses with status 200 are repeated here. A request
        of which a parameter is refused is sent once more without it, which is no try.
        """
        tries = prompt_tokens = completion_tokens = 0
        sent: list[dict[str, Any]] = []
        while True:
            body = self._accepted.fitted(arguments)
            sent.append(body)
            got = await self._client.send(body, self._backend.retries - tries)
            answer, tries = got.answer, tries + got.tries
            if answer.error is not None:
                if self._adapts(body, answer.error) and self._accepted.fitted(arguments) not in sent:
                    tries -= got.tries
                    continue
                answer = replace(answer, failure=self._failure(answer.error, body, repeated=not got.arrived))
            if answer.tokens is not None or answer.failure is None:
                paid = self._paid(answer)
                prompt_tokens, completion_tokens = prompt_tokens + paid[0], completion_tokens + paid[1]
            broken = answer.failure is not None and answer.failure.kind in ("server", "protocol")
            self._accepted.answered |= got.arrived and answer.error is None and not broken
            if answer.failure is None or not answer.failure.may_pass or tries > self._backend.retries:
                return answer, (prompt_tokens, completion_tokens), tries
            sent.clear()
            await asyncio.sleep(pause_after(tries))

    def _adapts(self, body: Mapping[str, Any], error: ProviderError) -> bool:
        """Learn what the model refuses of a request, with a notice; returns whether it may be sent otherwise."""
        change = change_for(body, error)
        if change is not None and self._accepted.learn(change):
            words = self._credentials.line(error.words)
            warnings.warn(f"{self._name} refuses {change.parameter}: {change.instead} ({words})", Notice, stacklevel=2)
        return change is not None

    def _failure(self, error: ProviderError, body: Mapping[str, Any], *, repeated: bool) -> Failure:
        """Return a provider's error as a failure; raises WorkError where no other request can succeed.

        Args:
            error: the error.
            body: the request.
            repeated: whether the client has repeated what may pass.
        """
        where, reason = self._backend.base_url, self._credentials.line(error.line)
        if error.status == 401:
            refused = f"the key in {self._backend.api_key_env}" if self._credentials.key else "a request without a key"
            raise WorkError(f"{where} refuses {refused}: {reason}")
        if error.status == 402 or error.code == NO_MONEY:
            raise WorkError(f"the account at {where} is used up: {reason}")
        if error.about_content:
            return Failure("content", reason)
        if error.cut:
            return Failure(
                "answer", f"the answer was cut in its reasoning; raise max_tokens of the judge file: {reason}"
            )
        if "logprobs" in body and refuses_logprobs(body, error):
            choose = "choose a prompt with another verdict, or a judge's reasoning form"
            raise WorkError(f"{self._name} gives no log-probabilities; {choose}: {reason}")
        if not error.may_pass and (error.status in _ALWAYS or not self._accepted.answered):
            raise WorkError(f"{self._name} refuses every request: {reason}")
        return Failure("server", reason, may_pass=error.may_pass and not repeated)

    def _paid(self, answer: Completion) -> tuple[int, int]:
        """Count the prompt and completion tokens of an answer, and return them."""
        if answer.tokens is None and self._spending.limit is not None:
            raise WorkError(
                f"{self._backend.base_url} does not say how many tokens it charges for; {self._spending.name} "
                "cannot be held"
            )
        tokens = answer.tokens or (0, 0)
        self._spending.add(self._backend.prices, *tokens)
        return tokens


def _chat_reply(answer: Completion, cost: Cost) -> ChatReply:
    if answer.failure is not None:
        return ChatReply("", "", *cost, failure=answer.failure.reason)
    return ChatReply(answer.text, answer.finish_reason, *cost)


def _choice_reply(request: ChoiceRequest, answer: Completion, cost: Cost) -> ChoiceReply:
    if answer.failure is not None:
        return ChoiceReply([], *cost, failure=answer.failure.reason)
    given = answer.alternatives
    begun = max((token for token in given if not math.isnan(given[token])), key=given.__getitem__)
    logprobs = [_logprob(text, given) for text in request.choices]
    return ChoiceReply(logprobs, *cost, text=begun, text_logprob=given[begun])


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
    """Return a choice's log-probability: that of all tokens together that equal it after stripping.

    -inf of one that is not among them; NaN if one of them could not be read, which may be this one or likelier.
    """
    own = [logprob for token, logprob in given.items() if token.strip() == choice.strip()]
    unreadable = any(map(math.isnan, own or given.values()))
    return math.nan if unreadable else float(np.logaddexp.reduce(own))
