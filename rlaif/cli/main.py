"""The `rlaif` command and its subcommands.

Invariant: this module and its imports need only typer, so that `rlaif --help` is fast; a command imports what it uses
when it is called.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from rlaif import __version__
from rlaif.cli import inspect, jobs, judge, preferences, run
from rlaif.cli.errors import at_the_edge

app = typer.Typer(
    name="rlaif",
    help="Align a language model with feedback from an AI judge.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMANDS: dict[str, list[Callable[..., Any]]] = {
    "Runs": [run.run, run.plan, run.predict, inspect.trace, inspect.report, inspect.runs],
    "Parts of a run alone": [preferences.label, preferences.train, preferences.train_reward],
    "Clusters": [jobs.submit, jobs.status, jobs.logs, jobs.stop, jobs.manifest],
}
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        app.command(_command.__name__.replace("_", "-"), rich_help_panel=_panel)(at_the_edge(_command))
app.add_typer(judge.app, rich_help_panel="Judges")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rlaif {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    app()
