"""`rlaif predict`: answer a file of questions with a run's current policy or with any model."""

from typing import Annotated

import typer

from rlaif.cli.options import Overrides, RayAddress, Runs


def predict(
    questions: Annotated[str, typer.Option(help="JSONL, CSV or Parquet file with a question column.")],
    output: Annotated[str, typer.Option("--output", "-o", help="CSV to write: id, answer, passage.")],
    run: Annotated[
        str | None, typer.Option("--run", help="Run whose current policy answers: its name or path.")
    ] = None,
    policy: Annotated[str | None, typer.Option(help="Model that answers: hub id, directory or builtin:...")] = None,
    runs: Runs = "runs",
    address: RayAddress = None,
    set_: Overrides = None,
) -> None:
    """Answer questions greedily, each with the passage of its context that best supports the answer."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.errors import UserError
    from rlaif.evaluation.predict import predict_with_model, predict_with_run

    if (run is None) == (policy is None):
        raise UserError("predict: expected one of --run and --policy")
    console = Console(stderr=True)
    with stop_signals("predict: stopped; nothing was written"), TerminalProgress(console) as progress:
        if run is not None:
            count = predict_with_run(
                run, runs, questions, output, overrides=set_ or [], address=address, progress=progress
            )
        else:
            count = predict_with_model(
                str(policy), questions, output, overrides=set_ or [], address=address, progress=progress
            )
    console.print(f"{count} answers in {output}", highlight=False)
