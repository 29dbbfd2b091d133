"""`rlaif train-reward`: a reward model from people's or a judge's preferences."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from rlaif.cli.training_command import AddressOption, JsonOption, SetOption, first_ids, training_progress

if TYPE_CHECKING:
    from rlaif.training.reward.standalone import RewardOutcome


def train_reward(
    pairs: Annotated[
        str,
        typer.Argument(
            metavar="LABELS", help="Label file, or preferences (prompt, chosen, rejected): JSONL, CSV or Parquet."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the reward model.")],
    model: Annotated[
        str, typer.Option(help="Model to start from, usually the policy's: hub id, folder or builtin:...")
    ] = "builtin:smollm2-135m",
    prompt: Annotated[str, typer.Option(help="Prompt file of kind answer that asks the policy a question.")] = "answer",
    heldout_share: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the questions to measure on instead of training on.")
    ] = 0.2,
    set_: SetOption = None,
    address: AddressOption = None,
    json_: JsonOption = False,
) -> None:
    """Train a reward model on preferences of people or of a judge, and write its judge file."""
    from rlaif.training.reward.standalone import train_reward_file

    with training_progress(output, "nothing was written there", json_) as (console, on_step):
        outcome = train_reward_file(
            pairs, model, output, prompt=prompt, heldout_share=heldout_share, overrides=set_ or [], address=address,
            on_step=on_step,
        )  # fmt: skip
    for line in _lines(outcome):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    if json_:
        sys.stdout.write(json.dumps(_json(outcome)) + "\n")


def _lines(outcome: "RewardOutcome") -> Iterator[str]:
    result, encoded, held_out = outcome.result, outcome.encoded, outcome.held_out
    if outcome.ties:
        yield f"{outcome.ties} ties were left out"
    if encoded.cut:
        yield f"{len(encoded.cut)} pairs lost the beginning of their context: {first_ids(encoded.cut)}"
    if encoded.too_long:
        yield f"{len(encoded.too_long)} pairs are too long and were left out: {first_ids(encoded.too_long)}"
    yield f"{result.pairs} pairs on {outcome.questions} questions, {result.steps} steps in {result.seconds:.1f} s"
    if held_out is not None:
        failed = f", {len(held_out.failed)} could not be scored" if held_out.failed else ""
        yield (
            f"held out: right on {held_out.right} of {held_out.pairs} pairs ({held_out.accuracy:.3f}) "
            f"on {held_out.questions} questions{failed}"
        )
    yield f"reward model in {outcome.out}, judge file {outcome.judge}"


def _json(outcome: "RewardOutcome") -> dict[str, object]:
    held_out = outcome.held_out
    result = {name: value for name, value in asdict(outcome.result).items() if name not in ("log", "files")}
    return {
        "model": outcome.out,
        "judge": outcome.judge,
        "ties": outcome.ties,
        "cut": outcome.encoded.cut,
        "too_long": outcome.encoded.too_long,
        "heldout": None if held_out is None else {**asdict(held_out), "accuracy": held_out.accuracy},
        **result,
    }
