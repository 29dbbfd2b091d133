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

_PREFIX = "rlaif-"
_ENDED = ("SUCCEEDED", "FAILED", "STOPPED")
_ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}

_Address = Annotated[
    str,
    typer.Option(
        "--address", envvar="RAY_API_SERVER_ADDRESS", help="The Ray head's dashboard, such as http://HEAD:8265."
    ),
]
_Job = Annotated[str, typer.Argument(metavar="JOB", help="The job's id, as submit and status print it.")]
_LOCAL = "http://127.0.0.1:8265"


def submit(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe, or the name of one in recipes/.")],
    address: _Address = _LOCAL,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = None,
    runs: Annotated[str, typer.Option(help="Folder or URL of the runs, the same from every node.")] = "runs",
    follow: Annotated[bool, typer.Option(help="Print the job's output, and end as it ends.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="Print the job as JSON, its output on standard error.")] = False,
) -> None:
    """Run a recipe as a job of a Ray cluster."""
    from rlaif.cli.bundle import make_bundle
    from rlaif.recipe import load_recipe

    resolved = load_recipe(recipe, set_)
    place = runs if "://" in runs else str(Path(runs).absolute())
    with tempfile.TemporaryDirectory(prefix="rlaif-job-") as folder:
        make_bundle(resolved, Path(folder))
        client = _client(address)
        with _talk(address):
            job = _free_id(resolved.name, [entry.submission_id for entry in client.list_jobs()])
            client.submit_job(
                entrypoint=shlex.join(
                    ["python", "-m", "rlaif", "run", "recipe.yaml", "--runs", place, "--address", "auto"]
                ),
                submission_id=job,
                runtime_env={
                    "working_dir": folder,
                    "py_modules": [str(Path(__file__).parents[1])],
                    "excludes": ["**/__pycache__/**"],
                    "env_vars": _ENVIRONMENT,
                },
                metadata={"rlaif_run": resolved.name, "rlaif_runs": place},
            )
    here = f" --address {address}" if address != _LOCAL else ""
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
    address: _Address = _LOCAL,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a job, or all jobs that rlaif has submitted to a cluster."""
    client = _client(address)
    with _talk(address):
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


def logs(
    job: _Job,
    address: _Address = _LOCAL,
    follow: Annotated[bool, typer.Option(help="Go on printing until the job ends, and end as it ends.")] = False,
) -> None:
    """Print what a job has printed."""
    client = _client(address)
    if follow:
        _raise_unless_fine(job, _follow(client, job, address))
        return
    with _talk(address):
        typer.echo(client.get_job_logs(job), nl=False)


def stop(
    job: _Job,
    address: _Address = _LOCAL,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Stop a job; what its run has committed stays, and submitting it again goes on from there."""
    client = _client(address)
    with _talk(address):
        stopped = client.stop_job(job)
    if json_:
        typer.echo(json.dumps({"job": job, "stopping": stopped}))
    else:
        typer.echo(f"{job}: {'stopping' if stopped else 'had ended already'}")


def _client(address: str) -> Any:
    """Return Ray's client of the job API.

    Raises:
        UserError: nothing answers at the address, or it wants a token that this process does not have.
    """
    import logging
    import os
    import urllib.error
    import urllib.request

    if not address.startswith(("http://", "https://")):
        raise UserError(f"--address {address}: expected the Ray head's dashboard, such as http://HEAD:8265")
    try:
        # Ray's own client would wait minutes for a host that swallows packets.
        urllib.request.urlopen(f"{address.rstrip('/')}/api/version", timeout=10).close()
    except urllib.error.HTTPError as error:
        if error.code == 401:
            # Ray's client looks for the token (~/.ray/auth_token and the like) only where this is set.
            os.environ["RAY_AUTH_MODE"] = os.environ.get("RAY_AUTH_MODE") or "token"
    except (OSError, ValueError) as error:
        raise _nobody(address, getattr(error, "reason", error)) from None
    # Ray lets its variables override an address that is given in so many words.
    kept = {name: os.environ.pop(name) for name in ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS") if name in os.environ}
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        from ray.job_submission import JobSubmissionClient

        for handler in logging.getLogger("ray").handlers:
            handler.setLevel(logging.WARNING)
        with _talk(address):
            return JobSubmissionClient(address)
    finally:
        os.environ.update(kept)


def _nobody(address: str, reason: object) -> UserError:
    return UserError(
        f"{address}: no Ray head answers ({reason}); expected its dashboard's address, such as http://HEAD:8265"
    )


class _talk:
    """Turns what goes wrong between here and a Ray head into one line that says what to do."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None or not isinstance(error, Exception) or isinstance(error, UserError | WorkError):
            return
        from ray.exceptions import AuthenticationError

        if isinstance(error, AuthenticationError):
            raise UserError(f"{self._address}: the Ray head wants a token: {_token_message(error)}") from None
        if isinstance(error, OSError):
            raise _nobody(self._address, _first_line(error)) from None
        if isinstance(error, RuntimeError | ValueError):  # Ray refuses a package that is too large with the latter.
            if "status code 404" in str(error):
                raise UserError(f"{self._address}: no such job; `rlaif status` lists those there") from None
            raise WorkError(f"{self._address}: {_first_line(error)}") from None


def _token_message(error: Exception) -> str:
    import os

    places = "RAY_AUTH_TOKEN, in a file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token"
    if os.environ.get("RAY_AUTH_MODE") == "disabled":
        return f"RAY_AUTH_MODE is `disabled` here; expected it unset, and the token in {places}"
    return f"{_first_line(error).split('. ')[0]}; expected the head's token in {places}"


def _free_id(name: str, taken: list[str | None]) -> str:
    """Return the id of a new job: `rlaif-NAME`, or the first of `rlaif-NAME-2`, `-3`, ... that is free."""
    candidate, number = f"{_PREFIX}{name}", 1
    while candidate in taken:
        number += 1
        candidate = f"{_PREFIX}{name}-{number}"
    return candidate


def _follow(client: Any, job: str, address: str, err: bool = False) -> Any:
    """Print a job's output until it ends; returns its details."""
    here = f" --address {address}" if address != _LOCAL else ""
    goes_on = f"{job} goes on: `rlaif logs {job} --follow{here}` follows it again, `rlaif stop {job}{here}` stops it"

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            typer.echo(text, nl=False, err=err)

    try:
        with _talk(address):
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


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
