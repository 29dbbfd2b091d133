"""Fetches documents from the web, politely and with care where links of others may lead.

Invariant: only https is asked, only at addresses that are public, of the host as it was resolved for this request, and
again after each redirect; never more than so many requests a second, bytes and seconds. Content is kept once, under its
sha256, and a link that was fetched is not asked again.
"""

import hashlib
import http.client
import ipaddress
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from rlaif.errors import Fault, UserError, first_line
from rlaif.io.files import cache_folder, write_bytes

_REDIRECTS = 5
_ATTEMPTS = 3
"""Times that a server is asked that answers 429 or 503."""
_LONGEST_WAIT = 30.0
_PIECE = 1 << 16
_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Addresses of version 6 that networks translate to the one of version 4 in their end."""


@dataclass(frozen=True, slots=True)
class FetchSettings:
    """How documents are fetched.

    Attributes:
        user_agent: who asks, with an email address, as the SEC wants it: `Acme research ann@example.org`.
        per_second: requests, at most.
        bytes: of a document, at most.
        seconds: that one document may take, redirects and waiting included.
    """

    user_agent: str
    per_second: float = 8.0
    bytes: int = 64 << 20
    seconds: float = 120.0

    def __post_init__(self) -> None:
        agent = self.user_agent
        if "@" not in agent or not agent.isascii() or not agent.isprintable():
            raise UserError(
                Fault("", field="user_agent", expected="who asks, with an email address", found=repr(agent)[:60])
            )


class _Refused(Exception):
    """A link is not followed, or its answer is not taken; the message says why."""


def is_public(address: str) -> bool:
    """Return whether an address may be asked: neither private, nor of this machine, nor of the local network."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    if isinstance(found, ipaddress.IPv6Address) and found in _TRANSLATED:
        inner = ipaddress.IPv4Address(found.packed[-4:])
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


class Fetcher:
    """Fetches documents; it may be used from several threads, and keeps to one rate for all of them."""

    def __init__(
        self,
        settings: FetchSettings,
        folder: Path | None = None,
        *,
        allowed: Callable[[str], bool] = is_public,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Make a fetcher.

        Args:
            folder: where content is kept; None takes `documents/` in the cache folder.
            allowed: whether an address may be asked.
            context: the certificates that are trusted; None takes the system's.
        """
        self._settings = settings
        self._folder = folder or cache_folder() / "documents"
        self._allowed = allowed
        self._context = context or ssl.create_default_context()
        self._lock = threading.Lock()
        self._next = 0.0

    def fetch(self, url: str) -> bytes:
        """Return the content at a web address, kept or fetched; raises UserError with one fault."""
        kept = self._kept(url)
        if kept is not None:
            return kept
        try:
            data = self._fetch(url, time.monotonic() + self._settings.seconds)
        except _Refused as error:
            raise UserError(Fault(url, str(error))) from None
        except ssl.SSLError as error:
            raise UserError(Fault(url, f"cannot be fetched: {first_line(error)}")) from None
        except TimeoutError:
            raise UserError(Fault(url, f"takes more than {self._settings.seconds:g} seconds to fetch")) from None
        except (OSError, http.client.HTTPException) as error:
            raise UserError(Fault(url, f"cannot be fetched: {first_line(error)}")) from None
        self._keep(url, data)
        return data

    def _kept(self, url: str) -> bytes | None:
        try:
            sha256 = json.loads(self._link(url).read_text("utf-8"))["sha256"]
            data = self._content(sha256).read_bytes()
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return data if hashlib.sha256(data).hexdigest() == sha256 else None

    def _keep(self, url: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._content(sha256).is_file():
            write_bytes(str(self._content(sha256)), data)
        write_bytes(str(self._link(url)), json.dumps({"url": url, "sha256": sha256}).encode())

    def _content(self, sha256: str) -> Path:
        return self._folder / "content" / str(sha256)[:2] / str(sha256)

    def _link(self, url: str) -> Path:
        return self._folder / "links" / f"{hashlib.sha256(url.encode()).hexdigest()}.json"

    def _fetch(self, url: str, deadline: float) -> bytes:
        for _ in range(_REDIRECTS + 1):
            found = self._ask(url, deadline)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise _Refused(f"is redirected more than {_REDIRECTS} times")

    def _ask(self, url: str, deadline: float) -> bytes | str:
        """Return the content at an address, or where it is redirected to; a busy server is asked again."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._wait_turn(deadline)
            connection = _Connection(*self._target(url), self._context, deadline)
            try:
                parts = urlsplit(url)
                target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                headers = {"User-Agent": self._settings.user_agent, "Accept-Encoding": "identity", "Accept": "*/*"}
                connection.request("GET", target, headers=headers)
                answer = connection.getresponse()
                if answer.status in (301, 302, 303, 307, 308) and answer.headers.get("Location"):
                    return str(answer.headers["Location"])
                if answer.status in (429, 503) and attempt < _ATTEMPTS:
                    _sleep(_seconds(answer.headers.get("Retry-After"), 2.0**attempt), deadline)
                    continue
                if answer.status != 200:
                    raise _Refused(f"cannot be fetched: HTTP {answer.status}")
                return self._body(answer, connection, deadline)
            finally:
                connection.close()
        raise _Refused(f"cannot be fetched: its server was busy {_ATTEMPTS} times")

    def _body(self, answer: http.client.HTTPResponse, connection: "_Connection", deadline: float) -> bytes:
        most = self._settings.bytes
        if answer.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
            raise _Refused("is sent compressed, which was not asked for")
        data = bytearray()
        while True:
            connection.hold_to(deadline)
            piece = answer.read1(_PIECE)
            if not piece:
                break
            data += piece
            if len(data) > most:
                raise _Refused(f"has more than {most:,} bytes")
        if answer.length:
            raise _Refused("ended before its last byte")
        return bytes(data)

    def _target(self, url: str) -> tuple[str, int, str]:
        """Return the host, port and address that a web address may be asked at."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or 443
        except ValueError:
            raise _Refused("is no web address") from None
        if parts.scheme != "https" or not host:
            raise _Refused(f"leads to {parts.scheme or 'nothing'}; expected https")
        if parts.username or parts.password:
            raise _Refused("holds a name or password")
        if any(ord(character) <= 32 or ord(character) > 126 for character in url):
            raise _Refused("holds characters that a web address cannot have")
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _Refused(f"the host {host} is not known") from None
        addresses = [str(entry[4][0]) for entry in found]
        # One public address among others could be a trap: all must be.
        if not addresses or not all(map(self._allowed, addresses)):
            raise _Refused(f"the host {host} is of a private network or of this machine")
        return host, port, addresses[0]

    def _wait_turn(self, deadline: float) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + 1.0 / self._settings.per_second
        _sleep(turn - now, deadline)


class _Connection(http.client.HTTPSConnection):
    """A connection to one address, with the certificate of the host that it was resolved from."""

    def __init__(self, host: str, port: int, address: str, context: ssl.SSLContext, deadline: float) -> None:
        super().__init__(host, port, context=context)
        self._address, self._trusted, self._deadline = address, context, deadline

    def connect(self) -> None:
        raw = socket.create_connection((self._address, self.port), _left(self._deadline))
        self.sock = self._trusted.wrap_socket(raw, server_hostname=self.host)
        self.hold_to(self._deadline)

    def hold_to(self, deadline: float) -> None:
        """Let the next step take no longer than until a time."""
        if self.sock is not None:
            self.sock.settimeout(_left(deadline))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _sleep(seconds: float, deadline: float) -> None:
    if seconds > _left(deadline):
        raise TimeoutError
    if seconds > 0:
        time.sleep(seconds)


def _seconds(header: str | None, otherwise: float) -> float:
    return min(float(header), _LONGEST_WAIT) if header is not None and header.isdigit() else otherwise
