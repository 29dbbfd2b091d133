"""The judge behind a URL of the user's, which scores or compares all candidates of a question.

Invariant: each question gets one answer that can be read, or a failure of one line; at most `concurrency` requests are
on their way or wait to be repeated; and no header's value is shown, stored, or part of a failure.
"""

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from rlaif.inference.credentials import Credentials, read_headers
from rlaif.judges.own_answer import LARGEST_ANSWER, OwnRequest, read_answer
from rlaif.judges.own_judge import OwnReply, OwnSpec
from rlaif.recipe.judge import check_headers, check_url

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

_PASSING = (408, 409, 425, 429)
"""Statuses below 500 after which a request is repeated."""
_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
"""Seconds before the first repetition, doubled for each other, and the most; a server may ask for more."""
_LONGEST_WAIT = 60.0
"""Most seconds of a server's `Retry-After` that are waited."""


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
        return Credentials(None, read_headers(self.headers, str(self.path), "headers"))


class HttpClient:
    """Asks the URL of a spec; see `Asker`. Raises UserError if a header's variable is not set."""

    def __init__(self, spec: HttpSpec) -> None:
        self._spec = spec
        self._credentials = spec.credentials()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: AsyncClient | None = None
        self._slots = asyncio.Semaphore(spec.concurrency)

    async def ask(self, request: OwnRequest) -> OwnReply:
        """See `Asker`."""
        client = self._connect()
        body = json.dumps(asdict(request)).encode()
        started = time.monotonic()
        async with self._slots:
            for tries in range(1, self._spec.retries + 2):
                answer, failure, pause = await self._send(client, body, len(request.candidates))
                if failure is None:
                    return OwnReply(answer, time.monotonic() - started)
                if pause is None or tries > self._spec.retries:
                    break
                await asyncio.sleep(max(pause, min(_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)))
        tried = f" ({tries} tries)" if tries > 1 else ""
        return OwnReply(None, time.monotonic() - started, f"{self._credentials.hidden(failure or '')}{tried}")

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = self._loop = None

    async def _send(self, client: "AsyncClient", body: bytes, count: int) -> tuple[Any, str | None, float | None]:
        """Return the answer to one try, why there is none, and the least pause before another; None if none helps."""
        import httpx

        try:
            async with (
                asyncio.timeout(self._spec.timeout),
                client.stream("POST", self._spec.url, content=body) as response,
            ):
                data = await _read(response)
        except TimeoutError:
            return None, f"no answer in {self._spec.timeout:g} seconds", 0.0
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return None, f"no connection: {error or type(error).__name__}", 0.0
        if response.status_code != 200:
            passing = response.status_code in _PASSING or response.status_code >= 500
            reason = f"HTTP {response.status_code}: {data[:1000].decode('utf-8', 'replace') or response.reason_phrase}"
            return None, reason, _retry_after(response) if passing else None
        if len(data) > LARGEST_ANSWER:
            return None, f"malformed answer: more than {LARGEST_ANSWER:,} bytes", 0.0
        try:
            answer = json.loads(data)
            read_answer(answer, count)
        except RecursionError:
            return None, "malformed answer: nested too deep", 0.0
        except ValueError as error:
            return None, f"malformed answer: {error}", 0.0
        return answer, None, 0.0

    def _connect(self) -> "AsyncClient":
        # Connections and semaphores belong to the event loop in which they were first used.
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            import httpx

            headers = {"Content-Type": "application/json", "Accept": "application/json", **self._credentials.headers}
            limits = httpx.Limits(max_connections=self._spec.concurrency)
            self._client = httpx.AsyncClient(headers=headers, timeout=self._spec.timeout, limits=limits)
            self._slots, self._loop = asyncio.Semaphore(self._spec.concurrency), loop
        return self._client


async def _read(response: "Response") -> bytes:
    """Return a response's body, of one that is too large only its beginning."""
    data = bytearray()
    async for part in response.aiter_bytes():
        data += part
        if len(data) > LARGEST_ANSWER:
            break
    return bytes(data)


def _retry_after(response: "Response") -> float:
    """Return the seconds that a server asks for before another try; 0 if it does not say."""
    text = response.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_WAIT) if text.isascii() and text.isdecimal() else 0.0
