"""`rlaif submit`, `status`, `logs`, `stop`: runs as jobs of a Ray cluster; `manifest`: files for its own tools."""

import json
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from rlaif.cli.options import Cluster, Dashboard, Json, Overrides, Recipe
from rlaif.cli.terminal import plain_console

_LOCAL = "http://127.0.0.1:8265"
_Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as printed by submit and status.")]


def submit(
    recipe: Recipe,
    address: Dashboard = _LOCAL,
    set_: Overrides = None,
    cluster: Cluster = None,
    runs: Annotated[str, typer.Option(help="Folder or URL of the runs, the same on every node.")] = "runs",
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME", help="Pass a variable of this environment, such as a key, to the run."),
    ] = None,
    follow: Annotated[bool, typer.Option(help="Print the job's output, and exit with its result.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the job as JSON, its output on standard error.")] = False,
) -> None:
    """Run a recipe as a job of a Ray cluster."""
    from rlaif.jobs.run_jobs import check_succeeded, follow_job, job_commands, submit_run
    from rlaif.jobs.secrets import values_of
    from rlaif.recipe import load_recipe

    job, run = submit_run(load_recipe(recipe, set_, cluster), runs, address, values_of(env or []))
    typer.echo(f"{job}: submitted; its run is {run}, the same path on every node", err=json_)
    submitted = {"job": job, "address": address, "run": run}
    if not follow:
        typer.echo(json.dumps(submitted) if json_ else " · ".join(job_commands(job, address)))
        return
    ended = follow_job(address, job, lambda text: typer.echo(text, nl=False, err=json_))
    if json_:
        typer.echo(json.dumps({**submitted, "status": ended.status}))
    check_succeeded(ended)


def status(
    job: Annotated[str | None, typer.Argument(metavar="[JOB]", help="A job's id; all of rlaif's if left out.")] = None,
    address: Dashboard = _LOCAL,
    json_: Json = False,
) -> None:
    """Show a job, or all jobs that rlaif has submitted to a cluster."""
    from rlaif.jobs.run_jobs import find_jobs

    jobs = find_jobs(address, job)
    if json_:
        values = [asdict(state) for state in jobs]
        typer.echo(json.dumps(values[0] if job else values))
        return
    if not jobs:
        typer.echo(f"no jobs of rlaif at {address}")
        return
    table = Table("job", "status", "started", "for", "message", box=box.SIMPLE_HEAD, pad_edge=False)
    for state in jobs:
        started = datetime.fromisoformat(state.started).strftime("%m-%d %H:%M") if state.started else ""
        lasted = str(timedelta(seconds=round(state.seconds))) if state.seconds is not None else ""
        table.add_row(state.job, state.status, started, lasted, state.message)
    plain_console().print(table)
    if job and jobs[0].run:
        typer.echo(f"its run: {jobs[0].run}")


def logs(
    job: _Job,
    address: Dashboard = _LOCAL,
    follow: Annotated[
        bool, typer.Option(help="Continue to print until the job ends, and exit with its result.")
    ] = False,
) -> None:
    """Print the output of a job."""
    from rlaif.jobs.ray_head import job_client
    from rlaif.jobs.run_jobs import check_succeeded, follow_job

    if follow:
        check_succeeded(follow_job(address, job, lambda text: typer.echo(text, nl=False)))
        return
    with job_client(address) as client:
        output = client.get_job_logs(job)
    typer.echo(output, nl=False)


def stop(job: _Job, address: Dashboard = _LOCAL, json_: Json = False) -> None:
    """Stop a job; its run keeps what is committed, and a new job resumes it."""
    from rlaif.jobs.ray_head import job_client

    with job_client(address) as client:
        stopped = client.stop_job(job)
    text = f"{job}: {'stopping' if stopped else 'had already ended'}"
    typer.echo(json.dumps({"job": job, "stopping": stopped}) if json_ else text)


def manifest(
    kind: Annotated[str, typer.Argument(help="kuberay-job, kuberay-cluster, slurm or ray-up.")],
    values: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of values; cluster/values.yaml if left out.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of standard output.")
    ] = None,
) -> None:
    """Print a Kubernetes manifest, a Slurm script or a file for `ray up`, filled in with values."""
    from rlaif.errors import UserError
    from rlaif.jobs.manifests import TEMPLATES, load_values, render

    if kind not in TEMPLATES:
        raise UserError(f"{kind}: unknown kind of manifest; expected one of {', '.join(TEMPLATES)}")
    text = render(kind, load_values(values, set_))
    if out is None:
        typer.echo(text, nl=False)
    else:
        Path(out).write_text(text, encoding="utf-8")
        typer.echo(f"{out}: written")
