"""`rlaif submit`, `status`, `logs`, `stop`: runs as jobs of a Ray cluster, through Ray's job API.

A job's id is `rlaif-RUN`, with a number where the cluster has had one of that name. The job works in a folder that is
sent along with everything the recipe names by a relative path, and with this installation's `rlaif`: the cluster needs
its dependencies alone. Invariant: ending one of these commands never ends a job; `stop` does.
"""

import asyncio
import json
import shlex
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from rlaif.errors import Interrupted, UserError, WorkError
from rlaif.jobs.ray_head import LOCAL, Address, connect, elsewhere, talk

_PREFIX = "rlaif-"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}

_Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as submit and status print it.")]


def submit(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe, or the name of one in recipes/.")],
    address: Address = LOCAL,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="FILE", help="A `cluster:` section of its own.")] = None,
    runs: Annotated[str, typer.Option(help="Folder or URL of the runs, the same from every node.")] = "runs",
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Give the run's driver a variable of this environment, such as a key."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Print the job's output, and end as it ends.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the job as JSON, its output on standard error.")] = False,
) -> None:
    """Run a recipe as a job of a Ray cluster."""
    from rlaif.jobs.bundle import make_bundle
    from rlaif.jobs.secrets import put, values_of
    from rlaif.recipe import load_recipe

    keys = values_of(env or [])
    resolved = load_recipe(recipe, set_, cluster)
    place = runs if "://" in runs else str(Path(runs).absolute())
    with tempfile.TemporaryDirectory(prefix="rlaif-job-") as folder:
        make_bundle(resolved, Path(folder))
        client = connect(address)
        with talk(address):
            jobs = client.list_jobs()
            _refuse_second(jobs, resolved.name, place, address)
            job = _free_id(resolved.name, [entry.submission_id for entry in jobs])
            module = ["rlaif.cli.job_driver", put(client, keys)] if keys else ["rlaif"]
            words = [*module, "run", "recipe.yaml", "--runs", place, "--address", "auto"]
            client.submit_job(
                entrypoint=shlex.join(["python", "-m", *words]),
                submission_id=job,
                runtime_env={
                    "working_dir": folder,
                    "py_modules": [str(Path(__file__).parents[1])],
                    "excludes": ["**/__pycache__/**"],
                    "env_vars": _ENVIRONMENT,
                },
                metadata={"rlaif_run": resolved.name, "rlaif_runs": place},
            )
    here = elsewhere(address)
    typer.echo(f"{job}: submitted; its run is {place}/{resolved.name}, the same place on every node", err=json_)
    if not follow:
        if json_:
            typer.echo(json.dumps({"job": job, "address": address, "run": f"{place}/{resolved.name}"}))
        else:
            typer.echo(f"rlaif logs {job} --follow{here} · rlaif status {job}{here} · rlaif stop {job}{here}")
        return
    ended = _follow(client, job, address, err=json_)
    if json_:
        value = {"job": job, "address": address, "run": f"{place}/{resolved.name}", "status": str(ended.status)}
        typer.echo(json.dumps(value))
    _raise_unless_fine(job, ended)


def status(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id; all of rlaif's if left out.")] = None,
    address: Address = LOCAL,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a job, or all jobs that rlaif has submitted to a cluster."""
    client = connect(address)
    with talk(address):
        found = [client.get_job_info(job)] if job else client.list_jobs()
    jobs = [entry for entry in found if job or str(entry.submission_id or "").startswith(_PREFIX)]
    jobs.sort(key=lambda entry: entry.start_time or 0)
    if json_:
        values = [_as_json(entry) for entry in jobs]
        typer.echo(json.dumps(values[0] if job else values))
        return
    if not jobs:
        typer.echo(f"no jobs of rlaif at {address}")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table("job", "status", "started", "for", "says", box=box.SIMPLE_HEAD, pad_edge=False)
    for entry in jobs:
        value = _as_json(entry)
        started = datetime.fromisoformat(value["started"]).strftime("%m-%d %H:%M") if value["started"] else ""
        lasted = str(timedelta(seconds=round(value["seconds"]))) if value["seconds"] is not None else ""
        table.add_row(value["job"], value["status"], started, lasted, value["message"])
    Console(highlight=False).print(table)
    if job and jobs[0].metadata and (run := _as_json(jobs[0])["run"]):
        typer.echo(f"its run: {run}")


def logs(
    job: _Job,
    address: Address = LOCAL,
    follow: Annotated[bool, typer.Option(help="Go on printing until the job ends, and end as it ends.")] = False,
) -> None:
    """Print what a job has printed."""
    client = connect(address)
    if follow:
        _raise_unless_fine(job, _follow(client, job, address))
        return
    with talk(address):
        typer.echo(client.get_job_logs(job), nl=False)


def stop(
    job: _Job,
    address: Address = LOCAL,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop a job; what its run has committed stays, and submitting it again goes on from there."""
    client = connect(address)
    with talk(address):
        stopped = client.stop_job(job)
    if json_:
        typer.echo(json.dumps({"job": job, "stopping": stopped}))
    else:
        typer.echo(f"{job}: {'stopping' if stopped else 'had ended already'}")


def _refuse_second(jobs: list[Any], name: str, place: str, address: str) -> None:
    """Refuse a run that a job works on already: on an object store nothing else would keep the two apart.

    Raises:
        UserError: with that job and what to do.
    """
    for entry in jobs:
        metadata = entry.metadata or {}
        same = (metadata.get("rlaif_run"), metadata.get("rlaif_runs")) == (name, place)
        if same and str(entry.status.value) not in _ENDED:
            job, here = entry.submission_id, elsewhere(address)
            raise UserError(
                f"{job} works on this run ({place}/{name}); `rlaif logs {job} --follow{here}` follows it, "
                f"`rlaif stop {job}{here}` stops it"
            )


def _free_id(name: str, taken: list[str | None]) -> str:
    """Return the id of a new job: `rlaif-NAME`, or the first of `rlaif-NAME-2`, `-3`, ... that is free."""
    candidate, number = f"{_PREFIX}{name}", 1
    while candidate in taken:
        number += 1
        candidate = f"{_PREFIX}{name}-{number}"
    return candidate


def _follow(client: Any, job: str, address: str, err: bool = False) -> Any:
    """Print a job's output until it ends; returns its details."""
    here = elsewhere(address)
    goes_on = f"{job} goes on: `rlaif logs {job} --follow{here}` follows it again, `rlaif stop {job}{here}` stops it"

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            typer.echo(text, nl=False, err=err)

    try:
        with talk(address):
            client.get_job_info(job)  # A job that is not there is said to be missing; the tail would break.
            asyncio.run(tail())
            ended = client.get_job_info(job)
    except KeyboardInterrupt:
        raise Interrupted(goes_on) from None
    if str(ended.status.value) not in _ENDED:
        raise WorkError(f"{address}: the connection ended before the job; {goes_on}")
    return ended


def _raise_unless_fine(job: str, ended: Any) -> None:
    state = str(ended.status.value)
    if state != "SUCCEEDED":
        raise WorkError(f"{job}: {state.lower()}: {_reason(ended.message) or 'no reason is given'}")


def _reason(message: str | None) -> str:
    """Return what a job's message comes to: of a failed one it ends with the job's last output."""
    lines = [line.strip() for line in (message or "").splitlines() if line.strip()]
    return lines[-1].removeprefix("rlaif: ") if lines else ""


def _as_json(entry: Any) -> dict[str, Any]:
    metadata = entry.metadata or {}
    run = f"{metadata['rlaif_runs']}/{metadata['rlaif_run']}" if "rlaif_runs" in metadata else None
    started = datetime.fromtimestamp(entry.start_time / 1000).astimezone() if entry.start_time else None
    ended = datetime.fromtimestamp(entry.end_time / 1000).astimezone() if entry.end_time else None
    seconds = ((ended or datetime.now().astimezone()) - started).total_seconds() if started else None
    return {
        "job": entry.submission_id,
        "status": str(entry.status.value),
        "started": started.isoformat() if started else None,
        "seconds": seconds,
        "run": run,
        "message": _reason(entry.message),
    }
