"""`rlaif train-reward`: a reward model from what people or a judge preferred."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer


def train_reward(
    pairs: Annotated[
        str,
        typer.Argument(
            metavar="LABELS", help="Label file, or preferences (prompt, chosen, rejected): JSONL, CSV or Parquet."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the reward model.")],
    model: Annotated[
        str, typer.Option(help="Model to start from, the policy's as a rule: hub id, folder or builtin:...")
    ] = "builtin:smollm2-135m",
    prompt: Annotated[
        str, typer.Option(help="Prompt file of kind answer that puts a question to the policy.")
    ] = "answer",
    heldout_share: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the questions to measure on instead of training on.")
    ] = 0.2,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: training.epochs=2.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; starts one here if left out.")] = None,
    json_: Annotated[
        bool, typer.Option("--json", help="Print the outcome as JSON, progress on standard error.")
    ] = False,
) -> None:
    """Train a reward model on preferences of people or of a judge, and write the judge file that names it."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.training.reward.standalone import train_reward_file

    console = Console(stderr=json_)
    begun = False
    with stop_signals(f"{output}: stopped; nothing was written there"), TerminalProgress(console) as progress:
        progress.stage("start workers", 1)

        def on_step(entry: dict[str, float]) -> None:
            nonlocal begun
            if not begun:
                progress.advance(1)
                progress.stage("train", int(entry["steps"]), int(entry["step"]) - 1)
                begun = True
            figures = {name: entry[name] for name in ("loss", "margin", "accuracy") if name in entry}
            progress.advance(1, **figures)

        outcome = train_reward_file(
            pairs, model, output, prompt=prompt, heldout_share=heldout_share, overrides=set_ or [], address=address,
            on_step=on_step,
        )  # fmt: skip
    result, measured = outcome.result, outcome.held_out
    lines = []
    if outcome.ties:
        lines.append(f"{outcome.ties} ties were left out")
    if outcome.cut:
        lines.append(f"{len(outcome.cut)} pairs lost the beginning of their context: {_some(outcome.cut)}")
    if outcome.too_long:
        lines.append(f"{len(outcome.too_long)} pairs are too long and were left out: {_some(outcome.too_long)}")
    lines.append(
        f"{result.pairs} pairs on {outcome.questions} questions, {result.steps} steps in {result.seconds:.1f} s"
    )
    if measured is not None:
        failed = f", {len(measured.failed)} could not be scored" if measured.failed else ""
        lines.append(
            f"held out: right on {measured.right} of {measured.pairs} pairs ({measured.accuracy:.3f}) "
            f"on {measured.questions} questions{failed}"
        )
    lines.append(f"reward model in {outcome.out}, judge file {outcome.judge}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if json_:
        plain = {name: value for name, value in result.to_json().items() if name not in ("log", "files")}
        figures = None if measured is None else {**asdict(measured), "accuracy": measured.accuracy}
        more = {"ties": outcome.ties, "cut": outcome.cut, "too_long": outcome.too_long, "heldout": figures}
        sys.stdout.write(json.dumps({"model": outcome.out, "judge": outcome.judge, **more, **plain}) + "\n")


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:10]) + (" ..." if len(ids) > 10 else "")
