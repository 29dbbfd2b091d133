"""A test's own Ray head, which requires a token, and `rlaif` commands against it."""

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Head:
    """A Ray head: its dashboard's address, what its users need in their environment, and where its logs are."""

    address: str
    environment: dict[str, str]
    folder: Path

    def rlaif(
        self, *words: str, folder: Path | None = None, timeout: float = 180, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command of rlaif that takes `--address`."""
        return subprocess.run(
            [sys.executable, "-m", "rlaif", *words, "--address", self.address],
            env={**self.environment, "PYTHONPATH": str(ROOT), **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@contextlib.contextmanager
def ray_head(cpus: int = 1, object_store: int = 100_000_000) -> Iterator[Head]:
    """Start a Ray head on free ports, and end it with all its processes."""
    ports = _free_ports(5)
    token = secrets.token_hex(32)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        environment.pop(name, None)
    # The `python` of the cluster's jobs must have rlaif.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # A socket's path must be short, and Ray's sockets have long names in this folder.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--num-cpus={cpus}",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={ports[0]}", f"--port={ports[1]}",
            f"--ray-client-server-port={ports[2]}", f"--dashboard-agent-listen-port={ports[3]}",
            f"--dashboard-agent-grpc-port={ports[4]}", f"--temp-dir={folder}", f"--object-store-memory={object_store}",
        ]  # fmt: skip
        with open(Path(folder) / "start.log", "w+") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            try:
                address = f"http://127.0.0.1:{ports[0]}"
                _wait(address, process, log.name)
                yield Head(address, environment, Path(folder))
            finally:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=30)
                # What ray leaves behind shares the session's process group.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(address: str, process: "subprocess.Popen[bytes]", log: str) -> None:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
            return
        except urllib.error.HTTPError:
            return  # It answers, and requires its token.
        except OSError:
            assert process.poll() is None, Path(log).read_text()
            time.sleep(0.5)
    raise AssertionError(Path(log).read_text())
