"""A site of this machine by https, for tests that fetch: odd answers at some paths, and pages of the tests."""

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

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Site:
    """A server of this machine, whose certificate `context` trusts.

    Attributes:
        asked: paths, each with who asked.
        pages: more pages, by their paths.
    """

    url: str
    context: ssl.SSLContext
    asked: list[tuple[str, str]] = field(default_factory=list)
    pages: dict[str, bytes] = field(default_factory=dict)


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
            self._answer(200, {}, self.site.pages.get(self.path, b"Sales rose."))

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


@contextlib.contextmanager
def serve_site(folder: Path) -> Iterator[Site]:
    """Serve a site for a block, with a certificate that is written to a folder."""
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
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    handler = type("Handler", (_Handler,), {"busy": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.socket = serving.wrap_socket(server.socket, server_side=True)
    trusting = ssl.create_default_context(cafile=str(folder / "certificate.pem"))
    handler.site = Site(f"https://127.0.0.1:{server.server_address[1]}", trusting)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield handler.site
    server.shutdown()
    server.server_close()
