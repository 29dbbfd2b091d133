"""What `rlaif train` and `rlaif train-reward` share: options, progress, and how they list ids."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from rlaif.training.job import OnStep

SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: training.epochs=2.")
]
AddressOption = Annotated[str | None, typer.Option(help="Ray cluster to join; starts one here if left out.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, progress on standard error.")]

_IDS_SHOWN = 10


@contextmanager
def training_progress(output: str, after_stop: str, json_: bool) -> Iterator[tuple["Console", "OnStep"]]:
    """Show a training's steps, and turn a stop into one message.

    Args:
        output: the folder that is made.
        after_stop: what a stop leaves behind.
        json_: whether standard output is for JSON alone.
    """
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.training.step_log import StepProgress

    console = Console(stderr=json_)
    with stop_signals(f"{output}: stopped; {after_stop}"), TerminalProgress(console) as progress:
        yield console, StepProgress(progress, "start workers", "train")


def first_ids(ids: Sequence[str]) -> str:
    """Return the first ids of a list, for a message."""
    return ", ".join(ids[:_IDS_SHOWN]) + (" ..." if len(ids) > _IDS_SHOWN else "")
