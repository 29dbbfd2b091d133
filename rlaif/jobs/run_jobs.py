"""Runs as jobs of a Ray cluster, through Ray's job API.

A job's id is `rlaif-RUN`, with a number if the cluster has had a job of that name. The job works in a bundle (`bundle`)
and with this installation's `rlaif` package; the cluster must have rlaif's dependencies. Invariant: no function here
ends a job; interrupting one leaves it running.
"""

import asyncio
import shlex
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Any

from rlaif.errors import Interrupted, UserError, WorkError
from rlaif.jobs.bundle import make_bundle
from rlaif.jobs.ray_head import LOCAL, job_client
from rlaif.jobs.secrets import put
from rlaif.recipe import Recipe

_PREFIX = "rlaif-"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True, slots=True)
class JobState:
    """The state of a job.

    Attributes:
        status: Ray's: `PENDING`, `RUNNING`, `SUCCEEDED`, `FAILED` or `STOPPED`.
        started: ISO time, or None before the start.
        seconds: since the start, until the end or now.
        run: None if rlaif did not submit it.
        message: the reason of its end, or "".
    """

    job: str
    status: str
    started: str | None
    seconds: float | None
    run: str | None
    message: str


def submit_run(recipe: Recipe, runs: str, address: str, variables: Mapping[str, str]) -> tuple[str, str]:
    """Submit a run with environment variables for its driver, and return the job's id and the run's path."""
    runs = runs if "://" in runs else str(Path(runs).absolute())
    with tempfile.TemporaryDirectory(prefix="rlaif-job-") as folder:
        make_bundle(recipe, Path(folder))
        with job_client(address) as client:
            jobs = client.list_jobs()
            refuse_second(jobs, recipe.name, runs, address)
            job = free_id(recipe.name, [entry.submission_id for entry in jobs])
            module = ["rlaif.cli.job_driver", put(client, variables)] if variables else ["rlaif"]
            words = [*module, "run", "recipe.yaml", "--runs", runs, "--address", "auto"]
            client.submit_job(
                entrypoint=shlex.join(["python", "-m", *words]),
                submission_id=job,
                runtime_env={
                    "working_dir": folder,
                    "py_modules": [str(Path(__file__).parents[1])],
                    "excludes": ["**/__pycache__/**"],
                    "env_vars": _ENVIRONMENT,
                },
                metadata={"rlaif_run": recipe.name, "rlaif_runs": runs},
            )
    return job, f"{runs}/{recipe.name}"


def find_jobs(address: str, job: str | None = None) -> list[JobState]:
    """Return one job, or all jobs of rlaif in the order in which they started."""
    with job_client(address) as client:
        found = [client.get_job_info(job)] if job else client.list_jobs()
    entries = [entry for entry in found if job or str(entry.submission_id or "").startswith(_PREFIX)]
    return [_state(entry) for entry in sorted(entries, key=lambda entry: entry.start_time or 0)]


def follow_job(address: str, job: str, write: Callable[[str], None]) -> JobState:
    """Pass a job's output to `write` until it ends, and return its last state.

    Raises:
        Interrupted: by Ctrl-C; the job continues.
        WorkError: the connection ended before the job.
    """
    follow, _, stop = job_commands(job, address)
    continues = f"{job} continues: `{follow}` follows it again, `{stop}` stops it"

    async def tail(client: Any) -> None:
        async for text in client.tail_job_logs(job):
            write(text)

    try:
        with job_client(address) as client:
            client.get_job_info(job)  # Reports a missing job; the tail would raise an unclear error.
            asyncio.run(tail(client))
            ended = _state(client.get_job_info(job))
    except KeyboardInterrupt:
        raise Interrupted(continues) from None
    if ended.status not in _ENDED:
        raise WorkError(f"{address}: the connection ended before the job; {continues}")
    return ended


def check_succeeded(ended: JobState) -> None:
    """Raise `WorkError` with the reason if a job did not succeed."""
    if ended.status != "SUCCEEDED":
        raise WorkError(f"{ended.job}: {ended.status.lower()}: {ended.message or 'no reason is given'}")


def job_commands(job: str, address: str) -> tuple[str, str, str]:
    """Return the commands that follow a job, show its status and stop it; the default address is left out."""
    option = f" --address {address}" if address != LOCAL else ""
    return f"rlaif logs {job} --follow{option}", f"rlaif status {job}{option}", f"rlaif stop {job}{option}"


def refuse_second(jobs: Sequence[Any], name: str, runs: str, address: str) -> None:
    """Check that no job works on a run; an object store has no lock that would keep two drivers apart."""
    for entry in jobs:
        metadata = entry.metadata or {}
        same = (metadata.get("rlaif_run"), metadata.get("rlaif_runs")) == (name, runs)
        if same and str(entry.status.value) not in _ENDED:
            job = entry.submission_id
            follow, _, stop = job_commands(job, address)
            raise UserError(f"{job} works on this run ({runs}/{name}); `{follow}` follows it, `{stop}` stops it")


def free_id(name: str, taken: Sequence[str | None]) -> str:
    """Return the id of a new job: the first of `rlaif-NAME`, `rlaif-NAME-2`, `rlaif-NAME-3`, ... that is free."""
    numbered = (f"{_PREFIX}{name}-{number}" for number in count(2))
    return next(job for job in chain([f"{_PREFIX}{name}"], numbered) if job not in taken)


def end_reason(message: str | None) -> str:
    """Return the last line of Ray's message on a job: for a failed job, the last line of its output."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[-1].removeprefix("rlaif: ") if lines else ""


def _state(entry: Any) -> JobState:
    metadata = entry.metadata or {}
    started = datetime.fromtimestamp(entry.start_time / 1000).astimezone() if entry.start_time else None
    ended = datetime.fromtimestamp(entry.end_time / 1000).astimezone() if entry.end_time else None
    return JobState(
        job=entry.submission_id,
        status=str(entry.status.value),
        started=started.isoformat() if started else None,
        seconds=((ended or datetime.now().astimezone()) - started).total_seconds() if started else None,
        run=f"{metadata['rlaif_runs']}/{metadata['rlaif_run']}" if "rlaif_runs" in metadata else None,
        message=end_reason(entry.message),
    )
