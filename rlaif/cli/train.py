"""`rlaif train`: DPO alone, on a file of preferences."""

import json
import sys
from typing import Annotated

import typer


def train(
    pairs: Annotated[
        str, typer.Argument(help="JSONL, CSV or Parquet with prompt, chosen and rejected: texts or chats.")
    ],
    policy: Annotated[str, typer.Option(help="Model to train: hub id, folder, an adapter's folder or builtin:...")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the trained policy.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; starts one here if left out.")] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON, progress on standard error.")
    ] = False,
) -> None:
    """Train a policy on preferences from anywhere; the policy as given is the loss's reference."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.training.dpo.standalone import train_file

    console = Console(stderr=json_)
    begun = False
    with (
        stop_signals(f"{output}: stopped; the same command goes on from the last checkpoint"),
        TerminalProgress(console) as progress,
    ):
        progress.stage("start workers", 1)

        def on_step(entry: dict[str, float]) -> None:
            nonlocal begun
            if not begun:
                progress.advance(1)
                progress.stage("train", int(entry["steps"]), int(entry["step"]) - 1)
                begun = True
            figures = {name: entry[name] for name in ("loss", "margin", "accuracy") if name in entry}
            progress.advance(1, **figures)

        outcome = train_file(pairs, policy, output, set_ or [], address, on_step)
    result = outcome.result
    if outcome.too_long:
        ids = ", ".join(outcome.too_long[:10]) + (" ..." if len(outcome.too_long) > 10 else "")
        console.print(f"{len(outcome.too_long)} pairs are longer than the model's context and were left out: {ids}")
    console.print(
        f"{result.pairs} pairs on {result.groups} prompts, {result.steps} steps in {result.seconds:.1f} s; "
        f"loss {result.loss:.3f}; policy in {outcome.out}",
        highlight=False,
        soft_wrap=True,
    )
    if json_:
        plain = {name: value for name, value in result.to_json().items() if name not in ("probe", "log", "files")}
        sys.stdout.write(json.dumps({"policy": outcome.out, "too_long": outcome.too_long, **plain}) + "\n")
