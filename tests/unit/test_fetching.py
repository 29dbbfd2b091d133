"""Documents from the web: only public hosts by https, within limits, politely, and kept once."""

import contextlib
import datetime
import ipaddress
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from rlaif.documents.fetching import Fetcher, FetchSettings, is_public
from rlaif.documents.links import Link, find_documents
from rlaif.errors import Fault, UserError

AGENT = "Acme research ann@example.org"


@dataclass
class Site:
    """A server of this machine, whose certificate `context` trusts, and what it was asked."""

    url: str
    context: ssl.SSLContext
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    site: Site
    busy = 0

    def do_GET(self) -> None:
        self.site.asked.append((self.path, self.headers["User-Agent"]))
        if self.path == "/loop":
            self._answer(302, {"Location": "/loop"})
        elif self.path == "/away":
            self._answer(302, {"Location": "http://example.org/"})
        elif self.path == "/moved":
            self._answer(301, {"Location": "/filing.txt"})
        elif self.path == "/busy" and type(self).busy < 1:
            type(self).busy += 1
            self._answer(503, {"Retry-After": "0"})
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            time.sleep(3)
        elif self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"a" * 10_000)
        elif self.path == "/cut":
            self._answer(200, {"Content-Length": "1000"}, b"short")
        elif self.path == "/none":
            self._answer(404, {})
        else:
            self._answer(200, {}, b"Sales rose.")

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            super().handle()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    (tmp_path / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    handler = type("Handler", (_Handler,), {"busy": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(tmp_path / "certificate.pem"))
    handler.site = Site(f"https://127.0.0.1:{server.server_address[1]}", trusting)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler.site
    server.shutdown()
    server.server_close()


def fetcher(site: Site, folder: Path, **settings: float) -> Fetcher:
    chosen = FetchSettings(AGENT, **{"per_second": 1_000, "bytes": 100_000, "seconds": 60.0, **settings})
    return Fetcher(chosen, folder / "kept", allowed=lambda address: address == "127.0.0.1", context=site.context)


def test_a_document_is_fetched_once_and_says_who_asks(site: Site, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetcher(site, tmp_path).fetch(f"{site.url}/moved") == b"Sales rose."
    assert site.asked == [("/moved", AGENT), ("/filing.txt", AGENT)]
    assert len([path for path in (tmp_path / "kept" / "content").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/loop", "is redirected more than 5 times"),
        ("/away", "leads to http; expected https"),
        ("/endless", "has more than 100,000 bytes"),
        ("/cut", "ended before its last byte"),
        ("/none", "HTTP 404"),
    ],
)
def test_what_is_not_taken(path: str, problem: str, site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=problem):
        fetcher(site, tmp_path).fetch(site.url + path)


def test_a_slow_server_ends_in_time_and_a_busy_one_is_asked_again(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"takes more than 1 seconds to fetch"):
        fetcher(site, tmp_path, seconds=1.0).fetch(f"{site.url}/slow")
    assert fetcher(site, tmp_path).fetch(f"{site.url}/busy") == b"Sales rose."


def test_requests_keep_to_the_rate(site: Site, tmp_path: Path) -> None:
    slow = fetcher(site, tmp_path, per_second=10)
    began = time.monotonic()
    for number in range(4):
        slow.fetch(f"{site.url}/{number}.txt")
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
        "::1", "::", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:0001::", "ff02::1",
        "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)


def test_hosts_and_links_that_are_refused(tmp_path: Path) -> None:
    assert is_public("8.8.8.8")
    assert is_public("2606:4700::1111")
    public = Fetcher(FetchSettings(AGENT), tmp_path)
    for url in (
        "https://127.0.0.1/a",
        "https://localhost/a",
        "https://[::1]/a",
        "https://2130706433/",
        "https://127.1/",
    ):
        with pytest.raises(UserError, match=r"private network or of this machine|is not known"):
            public.fetch(url)
    for url in ("http://example.org/", "ftp://example.org/", "https://", "https://a:b@example.org/"):
        with pytest.raises(UserError):
            public.fetch(url)


def test_who_asks_must_say_so() -> None:
    with pytest.raises(UserError, match="email address"):
        FetchSettings("curl")
    with pytest.raises(UserError, match="email address"):
        FetchSettings("ann@example.org\r\nX: y")


def test_a_web_address_is_refused_unless_it_is_allowed() -> None:
    with pytest.raises(UserError, match="nothing is fetched unless it is allowed"):
        Link("a", "https://example.org/a.pdf").content(None, 100)


def test_documents_of_folders(tmp_path: Path) -> None:
    for name in ("b/10K.txt", "a/10K.txt", "a/Q1.md", "a/.hidden.txt", "a/data.csv", ".git/x.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("Sales rose.")
    (tmp_path / "empty").mkdir()
    found = find_documents([str(tmp_path), str(tmp_path / "empty"), str(tmp_path / "a" / "Q1.md")])
    first, second = (str(tmp_path / folder / "10K.txt") for folder in "ab")
    assert [(link.name, link.path) for link in found if isinstance(link, Link)] == [
        (first, first), ("Q1", str(tmp_path / "a" / "Q1.md")), (second, second),
    ]  # fmt: skip
    assert [fault.path for fault in found if isinstance(fault, Fault)] == [str(tmp_path / "empty")]
