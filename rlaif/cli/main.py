"""The `rlaif` command and its subcommands.

Invariant: this module and its imports need only typer and rich, so that `rlaif --help` is fast; a command imports what
it uses when it is called.
"""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from rlaif import __version__
from rlaif.cli import ask, documents, documents_search, jobs, judge, preferences, runs
from rlaif.cli.errors import at_the_edge

_HELP: Any = {"no_args_is_help": True, "context_settings": {"help_option_names": ["-h", "--help"]}}

app = typer.Typer(
    name="rlaif",
    help="Align a language model with feedback from an AI judge.",
    add_completion=False,
    pretty_exceptions_enable=False,
    **_HELP,
)
judge_app = typer.Typer(name="judge", help="List, show, check and try judges; measure them against people.", **_HELP)
documents_app = typer.Typer(
    name="documents", help="Read documents, search them, and measure how well that works.", **_HELP
)

_COMMANDS: dict[str, list[Callable[..., Any]]] = {
    "Runs": [runs.run, runs.plan, runs.predict, runs.merge, runs.trace, runs.report, runs.runs, ask.ask],
    "Parts of a run alone": [preferences.label, preferences.train, preferences.train_reward],
    "Clusters": [jobs.submit, jobs.status, jobs.logs, jobs.stop, jobs.manifest],
}
for _panel, _commands in _COMMANDS.items():
    for _command in _commands:
        app.command(_command.__name__.replace("_", "-"), rich_help_panel=_panel)(at_the_edge()(_command))
for _name, _judge_command in judge.COMMANDS.items():
    judge_app.command(_name)(at_the_edge()(_judge_command))
app.add_typer(judge_app, rich_help_panel="Judges")
for _name, _documents_command in (documents.COMMANDS | documents_search.COMMANDS).items():
    documents_app.command(_name)(at_the_edge()(_documents_command))
app.add_typer(documents_app, rich_help_panel="Documents")


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
