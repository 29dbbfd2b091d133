"""An HTTP server on this machine that answers chat completions, or fails, as a test requires."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Exchange(BaseHTTPRequestHandler):
    """One request, with the ways to answer it."""

    protocol_version = "HTTP/1.1"
    server: "Endpoint"

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output clean."""

    def do_POST(self) -> None:
        """Record the request and let the test's function answer it."""
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        with self.server.lock:
            self.server.requests.append(body)
            self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.server.times.append(time.monotonic())
            number = len(self.server.requests)
            self.server.in_flight += 1
            self.server.most_in_flight = max(self.server.most_in_flight, self.server.in_flight)
        try:
            self.server.answer(self, number)
        finally:
            with self.server.lock:
                self.server.in_flight -= 1

    def send(self, status: int, data: bytes, content_type: str = "application/json", **headers: str) -> None:
        """Answer with bytes."""
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def say(self, text: str | None, *, tokens: tuple[int, int] | None = (100, 10), **choice: Any) -> None:
        """Answer with a completion."""
        body: dict[str, Any] = {
            "id": "c", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}} | choice
            ],
        }  # fmt: skip
        if tokens is not None:
            body["usage"] = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
        self.send(200, json.dumps(body).encode())

    def send_json(self, body: Any, status: int = 200) -> None:
        """Answer with any JSON value."""
        self.send(status, json.dumps(body).encode())

    def refuse(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        """Answer with an error."""
        self.send(status, json.dumps({"error": {"message": message, "code": code}}).encode(), **headers)

    def hang_up(self) -> None:
        """Drop the connection without an answer."""
        self.close_connection = True
        self.connection.close()


class Endpoint(ThreadingHTTPServer):
    """The server, with the requests that it has received."""

    daemon_threads = True

    def __init__(self, answer: Callable[[Exchange, int], None]) -> None:
        super().__init__(("127.0.0.1", 0), Exchange)
        self.answer = answer
        self.lock = threading.Lock()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.in_flight = self.most_in_flight = 0

    @property
    def url(self) -> str:
        """Base URL for a judge file."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore connections that a test has dropped."""


@contextmanager
def endpoint(answer: Callable[[Exchange, int], None]) -> Iterator[Endpoint]:
    """Serve for the length of a block; `answer` gets each exchange with its number, from 1."""
    server = Endpoint(answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
