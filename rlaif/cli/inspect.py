"""`rlaif trace`, `report` and `runs`: show runs, in progress or finished.

Invariant: these commands write nothing but `report.html`.
"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from rlaif.cli import errors
from rlaif.cli.options import Json, Runs

_Run = Annotated[str, typer.Argument(metavar="RUN", help="The run's name in the folder of runs, or its path or URL.")]


def trace(
    run: _Run,
    pair_id: Annotated[str, typer.Argument(metavar="PAIR_ID", help="The pair's id, or its beginning.")],
    runs: Runs = "runs",
    json_: Json = False,
) -> None:
    """Show the history of a preference pair: prompt, candidates, policy, verdicts, and the policy that it trained."""
    from rlaif.cli.terminal import plain_console
    from rlaif.reporting.terminal import lineage_view
    from rlaif.store.runs import find_run
    from rlaif.store.trace import trace_pair

    lineage = trace_pair(find_run(run, runs), pair_id)
    if json_:
        typer.echo(json.dumps(asdict(lineage)))
    else:
        plain_console().print(lineage_view(lineage))


def report(
    run: _Run,
    runs: Runs = "runs",
    out: Annotated[str | None, typer.Option(help="Page to write; the run's report.html if left out.")] = None,
    json_: Json = False,
) -> None:
    """Show how a run's policies do on the held-out questions, and write report.html."""
    from rlaif.cli.terminal import plain_console
    from rlaif.reporting.html import write_report
    from rlaif.reporting.summary import summarize
    from rlaif.reporting.summary_json import summary_json
    from rlaif.reporting.terminal import policies_table
    from rlaif.store.runs import find_run

    directory = find_run(run, runs)
    page = write_report(directory.root, out)
    summary = summarize(directory)
    if json_:
        typer.echo(json.dumps({**summary_json(summary), "report": page}))
        return
    console = plain_console()
    console.print(policies_table(summary))
    for line in summary.missing:
        console.print(f"not there yet: {line}", markup=False)
    console.print(f"report: {page}", markup=False, soft_wrap=True)


def runs(runs: Runs = "runs", json_: Json = False) -> None:
    """List the runs in a folder: their progress, and each current policy against its initial one."""
    from rlaif.cli.terminal import plain_console
    from rlaif.errors import UserError
    from rlaif.reporting.summary import summarize
    from rlaif.reporting.summary_json import summary_json
    from rlaif.reporting.terminal import runs_table
    from rlaif.store.runs import list_runs

    summaries, unreadable = [], []
    for directory in list_runs(runs):
        try:
            summaries.append(summarize(directory))
        except UserError as error:
            unreadable.append(error)
    if json_:
        typer.echo(json.dumps([summary_json(summary) for summary in summaries]))
    elif summaries:
        plain_console().print(runs_table(summaries))
    elif not unreadable:
        typer.echo(f"no runs in {runs}")
    if codes := [errors.report(error) for error in unreadable]:
        raise typer.Exit(max(codes))
