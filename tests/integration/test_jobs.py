"""`submit`, `status`, `logs` and `stop` against a real Ray head that wants a token."""

import contextlib
import json
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

import pytest


@dataclass(frozen=True)
class Head:
    """A Ray head of our own: its dashboard's address and what its users need in their environment."""

    address: str
    environment: dict[str, str]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """Start a Ray head on free ports, and end it with all its processes."""
    ports = _free_ports(5)
    token = secrets.token_hex(32)
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        environment.pop(name, None)
    # A cluster's own `python` has rlaif.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    # Ray's sockets have long names in it, and a socket's path is short.
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        command = [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus=1",
            "--dashboard-host=127.0.0.1", f"--dashboard-port={ports[0]}", f"--port={ports[1]}",
            f"--ray-client-server-port={ports[2]}", f"--dashboard-agent-listen-port={ports[3]}",
            f"--dashboard-agent-grpc-port={ports[4]}", f"--temp-dir={folder}", "--object-store-memory=100000000",
        ]  # fmt: skip
        with open(Path(folder) / "start.log", "w+") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
            try:
                address = f"http://127.0.0.1:{ports[0]}"
                _wait(address, process, log.name)
                yield Head(address, environment)
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
            return  # It is there, and wants its token.
        except OSError:
            assert process.poll() is None, Path(log).read_text()
            time.sleep(0.5)
    raise AssertionError(Path(log).read_text())


def _rlaif(
    head: Head, *words: str, folder: Path | None = None, **environment: str
) -> "subprocess.CompletedProcess[str]":
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "rlaif", *words, "--address", head.address],
        env={**head.environment, "PYTHONPATH": root, **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=180,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A recipe that a run refuses in seconds: everything is there but its model."""
    (tmp_path / "questions.jsonl").write_text('{"question": "What was revenue?", "answer": "5"}\n')
    (tmp_path / "small.yaml").write_text(
        "name: small\n"
        "policy: {model: /no/such/model}\n"
        "questions: {train: {type: file, path: questions.jsonl}, heldout: {type: demo, split: heldout, count: 5}}\n"
        "judge: {name: reference}\n"
    )
    return tmp_path


def test_a_job_runs_the_recipe_and_ends_as_it_ends(head: Head, project: Path) -> None:
    followed = _rlaif(head, "submit", "small.yaml", "--follow", "--json", folder=project)
    assert followed.returncode == 1
    assert json.loads(followed.stdout)["status"] == "FAILED"
    # The job's own message, in its output and as the reason.
    assert followed.stderr.count("/no/such/model: no such directory") == 2

    again = _rlaif(head, "submit", "small.yaml", "--json", folder=project)
    assert again.returncode == 0, again.stderr
    submitted = json.loads(again.stdout)
    assert submitted["job"] == "rlaif-small-2"
    assert submitted["run"] == str(project / "runs" / "small")

    listed = json.loads(_rlaif(head, "status", "--json").stdout)
    assert [entry["job"] for entry in listed] == ["rlaif-small", "rlaif-small-2"]
    assert listed[0]["status"] == "FAILED"
    assert listed[0]["message"].startswith("/no/such/model")
    assert "/no/such/model" in _rlaif(head, "logs", "rlaif-small").stdout


def test_a_job_goes_on_until_it_is_stopped(head: Head) -> None:
    _submit_sleep(head, "rlaif-sleep")
    following = subprocess.Popen(
        [sys.executable, "-m", "rlaif", "logs", "rlaif-sleep", "--follow", "--address", head.address],
        env={**head.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    while "sleeping" not in following.stdout.readline():
        pass
    following.send_signal(signal.SIGINT)
    _, said = following.communicate(timeout=60)
    assert following.returncode == 130
    assert "rlaif-sleep goes on" in said
    assert "rlaif stop rlaif-sleep" in said
    assert json.loads(_rlaif(head, "status", "rlaif-sleep", "--json").stdout)["status"] == "RUNNING"

    assert json.loads(_rlaif(head, "stop", "rlaif-sleep", "--json").stdout) == {"job": "rlaif-sleep", "stopping": True}
    ended = _rlaif(head, "logs", "rlaif-sleep", "--follow")
    assert ended.returncode == 1
    assert "stopped" in ended.stderr


def _submit_sleep(head: Head, name: str) -> None:
    code = (
        "import sys; from ray.job_submission import JobSubmissionClient; "
        "JobSubmissionClient(sys.argv[1]).submit_job("
        "entrypoint='echo sleeping; sleep 120', submission_id=sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, head.address, name], env=head.environment, check=True, timeout=60)


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_head_that_refuses_the_token_says_where_one_goes(head: Head, tmp_path: Path, token: str) -> None:
    refused = _rlaif(head, "status", RAY_AUTH_MODE="", RAY_AUTH_TOKEN=token, HOME=str(tmp_path))
    assert refused.returncode == 2
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert "RAY_AUTH_TOKEN_PATH" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_job_that_is_not_there_is_wrong_use(head: Head) -> None:
    for verb in (["status", "nope"], ["logs", "nope"], ["logs", "nope", "--follow"], ["stop", "nope"]):
        refused = _rlaif(head, *verb)
        assert refused.returncode == 2
        assert "no such job" in refused.stderr
