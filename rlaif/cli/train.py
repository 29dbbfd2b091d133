"""`rlaif train`: DPO alone, on a file of preferences."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from rlaif.cli.training_command import AddressOption, JsonOption, SetOption, first_ids, training_progress


def train(
    pairs: Annotated[
        str, typer.Argument(help="JSONL, CSV or Parquet with prompt, chosen and rejected: texts or chats.")
    ],
    policy: Annotated[str, typer.Option(help="Model to train: hub id, folder, an adapter's folder or builtin:...")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the trained policy.")],
    set_: SetOption = None,
    address: AddressOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a policy on a file of preferences; the policy before the training is the reference policy."""
    from rlaif.training.dpo.standalone import train_file

    after_stop = "the same command continues from the last checkpoint"
    with training_progress(output, after_stop, json_) as (console, on_step):
        outcome = train_file(pairs, policy, output, overrides=set_ or [], address=address, on_step=on_step)
    result = outcome.result
    if outcome.too_long:
        console.print(
            f"{len(outcome.too_long)} pairs are longer than the model's context and were left out: "
            f"{first_ids(outcome.too_long)}"
        )
    console.print(
        f"{result.pairs} pairs on {result.groups} prompts, {result.steps} steps in {result.seconds:.1f} s; "
        f"loss {result.loss:.3f}; policy in {outcome.out}",
        highlight=False,
        soft_wrap=True,
    )
    if json_:
        figures = {name: value for name, value in asdict(result).items() if name not in ("probe", "log", "files")}
        sys.stdout.write(json.dumps({"policy": outcome.out, "too_long": outcome.too_long, **figures}) + "\n")
