"""`rlaif label`, `train` and `train-reward`: preference pairs made and learned from without a run."""

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rlaif.cli.options import (
    BUILTIN,
    ColumnsOption,
    JudgedModel,
    JudgeJson,
    MaxCost,
    OutcomeJson,
    RayAddress,
    RayIfNeeded,
    Verbose,
)
from rlaif.cli.terminal import working

if TYPE_CHECKING:
    from rlaif.training.from_file import PolicyOutcome
    from rlaif.training.reward.standalone import RewardOutcome

_Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting: training.epochs=2.")
]
_IDS_SHOWN = 10
_STAGES = ("start workers", "train")


def label(
    candidates: Annotated[
        str, typer.Argument(help="JSON, CSV or Parquet with question and answers (a list), or answer (one a row).")
    ],
    judge: Annotated[str, typer.Option(help="Name of a judge in judges/, or the path of a judge file.")],
    output: Annotated[str, typer.Option("--output", "-o", help="Parquet file of preference pairs to write.")],
    prompt: Annotated[
        str, typer.Option(help="Template of kind answer; its chat becomes the pairs' prompt.")
    ] = "answer",
    model: JudgedModel = BUILTIN,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="pairs.* and how models are served: pairs.min_margin=0.2."),
    ] = None,
    columns: ColumnsOption = None,
    max_cost: MaxCost = None,
    address: RayIfNeeded = None,
    json_: JudgeJson = False,
    verbose: Verbose = False,
) -> None:
    """Judge answers that another system sampled, and write preference pairs for `rlaif train`."""
    from rlaif.data.candidates import read_candidates
    from rlaif.errors import UserError
    from rlaif.io.column_names import parse_columns
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.preferences.labelling import label_candidates
    from rlaif.prompts.template import load_template
    from rlaif.store.records.round_records import error_share

    if not output.endswith(".parquet"):
        raise UserError(f"--output {output}: expected a file of .parquet")
    spec, answer_template = load_judge_file(judge), load_template(prompt)
    if answer_template.kind != "answer":
        raise UserError(f"{answer_template.path}: kind is {answer_template.kind}; --prompt expects kind answer")
    serving = Serving(serving_settings(model, set_ or []), address, verbose, max_cost)
    read = read_candidates(candidates, parse_columns(columns))
    stopped = f"{output}: stopped; all answers so far are kept; run the same command to continue"
    with working(stopped, stderr=True) as progress:
        made = label_candidates(read, spec, answer_template, output, serving=serving, progress=progress)
    counts = made.counts
    single = f" ({made.single:,} with a single answer)" if made.single else ""
    text = (
        f"{made.answers:,} answers to {made.questions:,} questions{single}: {counts.statuses or 'no comparisons'}\n"
        f"{counts.pairs:,} pairs on {counts.prompts:,} questions in {made.pairs}; verdicts in {made.verdicts}"
    )
    shown = {**vars(counts), "error_share": error_share(counts.by_status)}
    typer.echo(json.dumps({**vars(made), "counts": shown}) if json_ else text)


def train(
    pairs: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Preferences (prompt, chosen, rejected), demonstrations for sft or ratings for kto; see docs/data.md.",
        ),
    ],
    policy: Annotated[str, typer.Option(help="Model to train: hub id, folder, an adapter's folder or builtin:...")],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the trained policy.")],
    objective: Annotated[
        Literal["dpo", "sft", "kto"],
        typer.Option(help="Learn from preferences (dpo), from demonstrations (sft) or from rated answers (kto)."),
    ] = "dpo",
    *,
    columns: ColumnsOption = None,
    set_: _Overrides = None,
    address: RayAddress = None,
    json_: OutcomeJson = False,
) -> None:
    """Train a policy on preferences, on demonstrations, or on rated answers."""
    from rlaif.io.column_names import parse_columns
    from rlaif.training.from_file import train_policy
    from rlaif.training.workers import StepProgress

    stopped = f"{output}: stopped; the same command continues from the last checkpoint"
    with working(stopped, stderr=json_) as progress:
        outcome = train_policy(
            objective, pairs, policy, output, columns=parse_columns(columns), overrides=set_ or [], address=address,
            on_step=StepProgress(progress, *_STAGES),
        )  # fmt: skip
    for line in _policy_lines(outcome):
        progress.console.print(line, markup=False, soft_wrap=True)
    if json_:
        made = {"policy": outcome.out, "left_out": outcome.left_out.by_reason, "too_long": outcome.too_long}
        typer.echo(json.dumps({**made, **outcome.result.shown}))


def _policy_lines(outcome: "PolicyOutcome") -> Iterator[str]:
    result, too_long = outcome.result, outcome.too_long
    if outcome.left_out.line:
        yield outcome.left_out.line
    if too_long:
        yield (
            f"{len(too_long)} {result.unit} are longer than the model's context and were left out: "
            f"{_first_ids(too_long)}"
        )
    if result.unpacked:
        yield f"trained unpacked, each answer after a prompt of its own: {result.unpacked}"
    yield outcome.summary


def train_reward(
    pairs: Annotated[
        str,
        typer.Argument(
            metavar="LABELS", help="Label file, or preferences (prompt, chosen, rejected); see docs/data.md."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the reward model.")],
    model: Annotated[
        str, typer.Option(help="Model to start from, usually the policy's: hub id, folder or builtin:...")
    ] = BUILTIN,
    prompt: Annotated[str, typer.Option(help="Prompt file of kind answer that asks the policy a question.")] = "answer",
    heldout_share: Annotated[
        float, typer.Option(min=0, max=0.95, help="Share of the questions to measure on instead of training on.")
    ] = 0.2,
    columns: ColumnsOption = None,
    set_: _Overrides = None,
    address: RayAddress = None,
    json_: OutcomeJson = False,
) -> None:
    """Train a reward model on preferences of people or of a judge, and write its judge file."""
    from rlaif.io.column_names import parse_columns
    from rlaif.training.reward.standalone import train_reward_file
    from rlaif.training.workers import StepProgress

    with working(f"{output}: stopped; nothing was written there", stderr=json_) as progress:
        steps = StepProgress(progress, *_STAGES)
        outcome = train_reward_file(
            pairs, model, output, prompt=prompt, heldout_share=heldout_share, columns=parse_columns(columns),
            overrides=set_ or [], address=address, on_step=steps,
        )  # fmt: skip
    for line in _reward_lines(outcome):
        progress.console.print(line, markup=False, soft_wrap=True)
    if json_:
        record = outcome.record
        made = {
            "model": outcome.out,
            "judge": outcome.judge,
            "ties": record.ties,
            "unfinished": record.unfinished,
            "left_out": record.left_out,
            "cut": record.train.cut,
            "too_long": record.train.too_long,
            "heldout": record.heldout and record.heldout.model_dump(exclude={"sha256"}),
            **record.model_dump(include={"steps", "pairs", "tokens", "seconds", "model_id"}),
        }
        typer.echo(json.dumps(made))


def _reward_lines(outcome: "RewardOutcome") -> Iterator[str]:
    record, train, held_out = outcome.record, outcome.record.train, outcome.record.heldout
    if record.ties:
        yield f"{record.ties} ties were left out"
    if outcome.left_out.line:
        yield outcome.left_out.line
    if record.unfinished:
        shown = _first_ids(record.unfinished)
        yield f"{len(record.unfinished)} preferred answers are thinking without an end and were left out: {shown}"
    if train.cut:
        yield f"{len(train.cut)} pairs lost the beginning of their context: {_first_ids(train.cut)}"
    if train.too_long:
        yield f"{len(train.too_long)} pairs are too long and were left out: {_first_ids(train.too_long)}"
    yield f"{record.pairs} pairs on {train.questions} questions, {record.steps} steps in {record.seconds:.1f} s"
    if held_out is not None:
        failed = f", {len(held_out.failed)} could not be scored" if held_out.failed else ""
        yield (
            f"held out: right on {held_out.right} of {held_out.pairs} pairs ({held_out.accuracy:.3f}) "
            f"on {held_out.questions} questions{failed}"
        )
    yield f"reward model in {outcome.out}, judge file {outcome.judge}"


def _first_ids(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_IDS_SHOWN]) + (" ..." if len(ids) > _IDS_SHOWN else "")
