"""`rlaif label`: turn another system's answers into preference pairs."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rlaif.preferences.labelling import LabelOutcome


def label(
    candidates: Annotated[
        str, typer.Argument(help="JSONL, CSV or Parquet with question and answers (a list), or answer (one a row).")
    ],
    judge: Annotated[str, typer.Option(help="Name of a judge in judges/, or the path of a judge file.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Parquet file of preference pairs to write.")],
    prompt: Annotated[
        str, typer.Option(help="Template of kind answer; its chat becomes the pairs' prompt.")
    ] = "answer",
    model: Annotated[
        str, typer.Option("--model", help="Model behind the name `policy` of a judge file.")
    ] = "builtin:smollm2-135m",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="pairs.* and how models are served: pairs.min_margin=0.2."),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Stop before endpoints charge more than this, in the currency of the judge's prices."),
    ] = None,
    address: Annotated[str | None, typer.Option(help="Ray cluster to join; starts one here if one is needed.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON, progress on standard error.")] = False,
    verbose: Annotated[bool, typer.Option(help="Show what the engines print.")] = False,
) -> None:
    """Judge answers that another system sampled, and write preference pairs for `rlaif train`."""
    from rich.console import Console

    from rlaif.cli.interrupt import stop_signals
    from rlaif.cli.progress import TerminalProgress
    from rlaif.data.candidates import read_candidates
    from rlaif.errors import UserError
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.preferences.labelling import label_candidates
    from rlaif.prompts.template import load_template

    if not output.endswith(".parquet"):
        raise UserError(f"--output {output}: expected a file of .parquet")
    spec, answer_template = load_judge_file(judge), load_template(prompt)
    if answer_template.kind != "answer":
        raise UserError(f"{answer_template.path}: kind is {answer_template.kind}; --prompt expects kind answer")
    serving = Serving(serving_settings(model, set_ or []), address, verbose, max_cost)
    read = read_candidates(candidates)
    console = Console(stderr=True)
    with (
        stop_signals(f"{output}: stopped; all answers so far are kept, and the same command goes on"),
        TerminalProgress(console) as progress,
    ):
        made = label_candidates(read, spec, answer_template, output, serving=serving, progress=progress)
    typer.echo(json.dumps({**vars(made), "counts": vars(made.counts)}) if json_ else _outcome_text(made))


def _outcome_text(made: "LabelOutcome") -> str:
    statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(made.counts.by_status.items()))
    single = f" ({made.single:,} with a single answer)" if made.single else ""
    return (
        f"{made.answers:,} answers to {made.questions:,} questions{single}: {statuses or 'no comparisons'}\n"
        f"{made.counts.pairs:,} pairs on {made.counts.prompts:,} questions in {made.pairs}; verdicts in {made.verdicts}"
    )
