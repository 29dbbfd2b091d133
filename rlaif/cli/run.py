"""`rlaif run`: run a recipe, or go on with a run that was interrupted."""

import json
import sys
from typing import Annotated

import typer


def run(
    recipe: Annotated[str, typer.Argument(help="Path of a recipe, or the name of one in recipes/.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = None,
    cluster: Annotated[str | None, typer.Option(metavar="FILE", help="A `cluster:` section of its own.")] = None,
    runs: Annotated[str, typer.Option(help="Folder or URL that holds the runs.")] = "runs",
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; starts one here if left out.")] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON, progress on standard error.")
    ] = False,
    verbose: Annotated[bool, typer.Option(help="Show what the engines and workers print.")] = False,
) -> None:
    """Run a recipe: sample, judge, pair, train, evaluate, promote, round by round. The same command resumes."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.recipe import load_recipe
    from rlaif.rounds.run import execute
    from rlaif.rounds.setup import prepare

    console = Console(stderr=json_)
    resolved = load_recipe(recipe, set_, cluster)
    setup = prepare(resolved, runs)
    with stop_signals(f"{setup.path}: stopped; what is committed stays. The same command goes on from here."):
        console.print(
            f"[bold]{resolved.name}[/bold]: {len(setup.train)} questions to learn from, ", end="", highlight=False
        )
        console.print(f"{len(setup.heldout)} held out, judge {setup.judge.name}, in {setup.path}", highlight=False)
        with TerminalProgress(console) as progress:
            outcome = execute(setup, address, progress, verbose)
    from rlaif.reporting import summary_table, write_report

    report = write_report(outcome.path)
    console.print(summary_table(outcome.path))
    if outcome.stopped:
        console.print(outcome.stopped, highlight=False)
    console.print(f"report: {report}", highlight=False, soft_wrap=True)
    if json_:
        sys.stdout.write(json.dumps({"run": outcome.path, "rounds": outcome.rounds, "stopped": outcome.stopped}) + "\n")
