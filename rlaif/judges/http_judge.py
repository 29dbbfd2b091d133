"""The judge behind a URL of the user's, which scores or compares all candidates of a question.

Invariant: each question gets one answer that can be read, or a failure of one line; at most `concurrency` requests are
on their way or wait to be repeated; and no header's value is shown, stored, or part of a failure.
"""

import asyncio
import json
import time
from dataclasses import asdict, replace
from itertools import count
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from rlaif.inference.completions import Failure
from rlaif.inference.credentials import Credentials, header_credentials
from rlaif.inference.per_loop import PerLoop
from rlaif.inference.retrying import pause_after, redirection, retry_after
from rlaif.judges.own_answer import LARGEST_ANSWER, OwnRequest, judgment_of, read_answer
from rlaif.judges.own_judge import OwnReply, OwnSpec
from rlaif.recipe.judge import check_headers, check_url

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

_PASSING = (408, 409, 425, 429)
"""Statuses below 500 after which a request is repeated."""


class HttpSpec(OwnSpec):
    """A URL of yours, which scores or compares all candidates of a question."""

    kind: Literal["http"]
    url: str
    """Where the question is sent by POST, without a credential or a query. It is part of the judge's identity."""
    headers: dict[str, str] = Field(default={}, repr=False)
    """More headers of each request. `${NAME}` in a value is the environment variable NAME, the place for a secret.
    Values are neither shown nor stored, and are no part of the judge's identity."""
    concurrency: int = Field(default=8, ge=1, le=1024)
    """Most requests on their way at once."""
    timeout: float = Field(default=120.0, gt=0, le=3600)
    """Seconds without the whole answer after which a request is given up and tried again."""
    retries: int = Field(default=5, ge=0, le=100)
    """Tries after the first, on 408, 409, 425, 429, 5xx, time-outs, dropped connections and malformed answers; then the
    question is an error."""

    @field_validator("url")
    @classmethod
    def _is_a_plain_url(cls, url: str) -> str:
        return check_url(url, such_as="http://localhost:8000/judge", secret="the key in a header")

    @field_validator("headers", mode="before")
    @classmethod
    def _can_be_sent(cls, headers: object) -> object:
        return check_headers(headers)

    def _deciding(self) -> dict[str, Any]:
        return {"kind": self.kind, "url": self.url, "version": self.version}

    def credentials(self) -> Credentials:
        """Return the headers with the environment's values; raises UserError where a variable is not set."""
        return header_credentials(self.headers, str(self.path), "headers")

    @property
    def asks(self) -> str:
        return self.url


class HttpClient:
    """Asks the URL of a spec; see `Asker`. Raises UserError if a header's variable is not set."""

    def __init__(self, spec: HttpSpec) -> None:
        self._spec = spec
        self._credentials = spec.credentials()
        self._connections = PerLoop(self._connect, owner=f"judge {spec.name}")

    async def ask(self, request: OwnRequest) -> OwnReply:
        """See `Asker`."""
        client, slots = self._connections.get()
        body = json.dumps(asdict(request)).encode()
        started = time.monotonic()
        async with slots:
            for tries in count(1):
                answer, failure, pause = await self._send(client, body, len(request.candidates))
                if failure is None or not failure.may_pass or tries > self._spec.retries:
                    break
                await asyncio.sleep(max(pause, pause_after(tries)))
        if failure is not None and tries > 1:
            failure = replace(failure, reason=f"{failure.reason} ({tries} tries)")
        return OwnReply(answer, time.monotonic() - started, failure)

    async def close(self) -> None:
        """Close the connections; nothing is sent any more."""
        if (opened := self._connections.close()) is not None:
            await opened[0].aclose()

    async def _send(self, client: "AsyncClient", body: bytes, candidates: int) -> tuple[Any, Failure | None, float]:
        """Return the answer to one try, why there is none, and the least pause before another."""
        import httpx

        try:
            async with (
                asyncio.timeout(self._spec.timeout),
                client.stream("POST", self._spec.url, content=body) as response,
            ):
                data = await _read(response)
        except TimeoutError:
            return None, Failure("connection", f"no answer in {self._spec.timeout:g} seconds", may_pass=True), 0.0
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            reason = self._credentials.hidden(str(error) or type(error).__name__)
            return None, Failure("connection", f"no connection: {reason}", may_pass=True), 0.0
        if response.status_code != 200:
            return None, self._refusal(response, data), retry_after(response.headers.get("Retry-After", ""))
        try:
            if len(data) > LARGEST_ANSWER:
                raise ValueError(f"more than {LARGEST_ANSWER:,} bytes")
            answer = json.loads(data)
        except (ValueError, RecursionError) as error:
            reason = "nested too deep" if isinstance(error, RecursionError) else self._credentials.hidden(str(error))
            return None, Failure("protocol", f"malformed answer: {reason}", may_pass=True), 0.0
        try:
            read_answer(answer, candidates)
        except ValueError as error:
            reason = self._credentials.hidden(str(error))
            return None, Failure("answer", f"malformed answer: {reason}", may_pass=True), 0.0
        return judgment_of(answer), None, 0.0

    def _refusal(self, response: "Response", data: bytes) -> Failure:
        status = response.status_code
        words = redirection(status, response.headers.get("Location", ""))
        words = words or data[:1000].decode("utf-8", "replace") or response.reason_phrase
        passing = status in _PASSING or status >= 500
        return Failure("server", f"HTTP {status}: {self._credentials.hidden(words)}", may_pass=passing)

    def _connect(self) -> "tuple[AsyncClient, asyncio.Semaphore]":
        import httpx

        headers = {"Content-Type": "application/json", "Accept": "application/json", **self._credentials.headers}
        limits = httpx.Limits(max_connections=self._spec.concurrency)
        client = httpx.AsyncClient(headers=headers, timeout=self._spec.timeout, limits=limits, follow_redirects=False)
        return client, asyncio.Semaphore(self._spec.concurrency)


async def _read(response: "Response") -> bytes:
    """Return a response's body, of one that is too large only its beginning."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > LARGEST_ANSWER:
            break
    return bytes(data)
