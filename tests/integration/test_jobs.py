"""`submit`, `status`, `logs` and `stop` against a real Ray head that requires a token."""

import hashlib
import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ray_head import ROOT, Head, ray_head


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A Ray head of our own."""
    with ray_head() as started:
        yield started


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A recipe that a run refuses in seconds, because its model does not exist."""
    (tmp_path / "questions.jsonl").write_text('{"question": "What was revenue?", "gold_answer": "5"}\n')
    (tmp_path / "small.yaml").write_text(
        "name: small\n"
        "policy: {model: /no/such/model}\n"
        "questions: {train: {type: file, path: questions.jsonl}, heldout: {type: demo, split: heldout, count: 5}}\n"
        "judge: {name: reference}\n"
    )
    return tmp_path


def test_a_job_runs_the_recipe_and_fails_with_its_message(head: Head, project: Path) -> None:
    followed = head.rlaif("submit", "small.yaml", "--follow", "--json", folder=project)
    assert followed.returncode == 1
    assert json.loads(followed.stdout)["status"] == "FAILED"
    # The job's own message, in its output and as the reason.
    assert followed.stderr.count("/no/such/model: no such directory") == 2

    again = head.rlaif("submit", "small.yaml", "--json", folder=project)
    assert again.returncode == 0, again.stderr
    submitted = json.loads(again.stdout)
    assert submitted["job"] == "rlaif-small-2"
    assert submitted["run"] == str(project / "runs" / "small")

    listed = json.loads(head.rlaif("status", "--json").stdout)
    assert [entry["job"] for entry in listed] == ["rlaif-small", "rlaif-small-2"]
    assert listed[0]["status"] == "FAILED"
    assert listed[0]["message"].startswith("/no/such/model")
    assert "/no/such/model" in head.rlaif("logs", "rlaif-small").stdout


def test_a_job_runs_until_it_is_stopped(head: Head) -> None:
    _submit_sleep(head, "rlaif-sleep")
    following = subprocess.Popen(
        [sys.executable, "-m", "rlaif", "logs", "rlaif-sleep", "--follow", "--address", head.address],
        env={**head.environment, "PYTHONPATH": str(ROOT)},
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
    assert "rlaif-sleep continues" in said
    assert "rlaif stop rlaif-sleep" in said
    assert json.loads(head.rlaif("status", "rlaif-sleep", "--json").stdout)["status"] == "RUNNING"

    assert json.loads(head.rlaif("stop", "rlaif-sleep", "--json").stdout) == {"job": "rlaif-sleep", "stopping": True}
    ended = head.rlaif("logs", "rlaif-sleep", "--follow")
    assert ended.returncode == 1
    assert "stopped" in ended.stderr


def _submit_sleep(head: Head, name: str, **metadata: str) -> None:
    _with_client(
        head,
        "client.submit_job(entrypoint='echo sleeping; sleep 120', submission_id=words[0], "
        "metadata=dict(word.split('=') for word in words[1:]))",
        name,
        *(f"{key}={value}" for key, value in metadata.items()),
    )


def _with_client(head: Head, code: str, *words: str) -> str:
    """Run a line of Python with Ray's own `client` of the job API, and return its output."""
    start = "import sys; from ray.job_submission import JobSubmissionClient; "
    start += "client, words = JobSubmissionClient(sys.argv[1]), sys.argv[2:]; "
    command = [sys.executable, "-c", start + code, head.address, *words]
    environment = {**head.environment, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_refused_token_is_an_error_that_names_its_variable(head: Head, tmp_path: Path, token: str) -> None:
    refused = head.rlaif("status", RAY_AUTH_MODE="", RAY_AUTH_TOKEN=token, HOME=str(tmp_path))
    assert refused.returncode == 2
    assert "RAY_AUTH_TOKEN" in refused.stderr
    assert "RAY_AUTH_TOKEN_PATH" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_unknown_job_is_wrong_use(head: Head) -> None:
    for verb in (["status", "nope"], ["logs", "nope"], ["logs", "nope", "--follow"], ["stop", "nope"]):
        refused = head.rlaif(*verb)
        assert refused.returncode == 2
        assert "no such job" in refused.stderr


def test_a_run_of_a_running_job_is_not_submitted_again(head: Head, project: Path) -> None:
    _submit_sleep(head, "rlaif-taken", rlaif_run="small", rlaif_runs="/taken")
    refused = head.rlaif("submit", "small.yaml", "--runs", "/taken", folder=project)
    assert refused.returncode == 2
    assert "rlaif-taken works on this run (/taken/small)" in refused.stderr
    head.rlaif("stop", "rlaif-taken")
    assert head.rlaif("logs", "rlaif-taken", "--follow").returncode == 1
    # A job that has ended does not block a new one, and a job's id finds its run.
    again = head.rlaif("submit", "small.yaml", "--runs", "/taken", "--json", folder=project)
    assert again.returncode == 0, again.stderr
    job = json.loads(again.stdout)["job"]
    assert json.loads(head.rlaif("status", job, "--json").stdout)["run"] == "/taken/small"
    assert "its run: /taken/small" in head.rlaif("status", job).stdout


SECRET = "a-key-that-nobody-else-writes-2f6c1b"


def test_a_variable_reaches_the_driver_and_is_written_nowhere(head: Head, project: Path) -> None:
    given = {"OUR_KEY": SECRET}
    ended = head.rlaif("submit", "small.yaml", "--env", "OUR_KEY", "--follow", "--json", folder=project, **given)
    # The driver has read its variables and started the run, which ends for its own reason.
    assert "/no/such/model: no such directory" in ended.stderr
    assert SECRET not in ended.stdout + ended.stderr
    listed = _with_client(head, "print([job.dict() for job in client.list_jobs()])")
    assert "rlaif_run" in listed
    assert SECRET not in listed
    time.sleep(2)
    files = [path for path in head.folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_a_variable_is_read_once(head: Head) -> None:
    put = "from rlaif.jobs.secrets import put; print(put(client, {'OUR_KEY': words[0]}), end='')"
    path = _with_client(head, put, SECRET)
    assert SECRET not in path
    code = (
        "import sys, hashlib; from rlaif.jobs.secrets import take; "
        "print(hashlib.sha256(take(sys.argv[1])['OUR_KEY'].encode()).hexdigest()); take(sys.argv[1])"
    )
    entry = shlex.join(["python", "-c", code, path])
    submit = "client.submit_job(entrypoint=words[0], submission_id='rlaif-taking', "
    submit += "runtime_env={'py_modules': [words[1]]})"
    _with_client(head, submit, entry, str(ROOT / "rlaif"))
    ended = head.rlaif("logs", "rlaif-taking", "--follow")
    assert ended.returncode == 1
    assert hashlib.sha256(SECRET.encode()).hexdigest() in ended.stdout
    assert "submit it again" in ended.stdout


@pytest.mark.parametrize(("name", "says"), [("NOT_SET_ANYWHERE", "not set here"), ("OUR_KEY=x", "alone")])
def test_a_variable_that_cannot_be_given_is_refused_before_anything_is_sent(
    head: Head, project: Path, name: str, says: str
) -> None:
    refused = head.rlaif("submit", "small.yaml", "--env", name, folder=project, OUR_KEY=SECRET)
    assert refused.returncode == 2
    assert says in refused.stderr
    assert "=x" not in refused.stderr


def test_a_plan_takes_the_machines_of_the_cluster(head: Head, project: Path) -> None:
    planned = head.rlaif("plan", "demo", "--json", folder=project)
    assert planned.returncode == 0, planned.stderr
    hardware = json.loads(planned.stdout)["hardware"]
    assert (hardware["gpu"], hardware["nodes"], hardware["cores"]) == (False, 1, 1)
