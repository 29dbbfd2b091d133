"""`rlaif run`: run a recipe, or resume its run."""

import json
import sys
from typing import Annotated

import typer

from rlaif.cli.options import Cluster, OutcomeJson, Overrides, RayAddress, Recipe, Runs


def run(
    recipe: Recipe,
    set_: Overrides = None,
    cluster: Cluster = None,
    runs: Runs = "runs",
    address: RayAddress = None,
    json_: OutcomeJson = False,
    verbose: Annotated[bool, typer.Option(help="Show the output of engines and workers.")] = False,
) -> None:
    """Run a recipe: sample, judge, pair, train, evaluate and promote, round by round. The same command resumes it."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.recipe import load_recipe
    from rlaif.rounds.run import execute
    from rlaif.rounds.setup import prepare

    console = Console(stderr=json_)
    resolved = load_recipe(recipe, set_, cluster)
    setup = prepare(resolved, runs)
    with stop_signals(f"{setup.path}: stopped; the run keeps what is committed. The same command resumes it."):
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
