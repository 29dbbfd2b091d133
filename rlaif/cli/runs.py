"""The commands on runs: `rlaif run`, `plan`, `predict`, `merge`, `trace`, `report` and `runs`.

Invariant: the last three show runs in progress or finished, and write nothing but `report.html`.
"""

import json
from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from rlaif.cli import errors
from rlaif.cli.options import Cluster, ColumnsOption, Json, OutcomeJson, Overrides, RayAddress, Recipe, RunName, Runs
from rlaif.cli.terminal import TerminalProgress, plain_console, print_result, stop_signals, working


def run(
    recipe: Recipe,
    set_: Overrides = None,
    cluster: Cluster = None,
    runs: Runs = "runs",
    address: RayAddress = None,
    json_: OutcomeJson = False,
    verbose: Annotated[bool, typer.Option(help="Show the output of engines and workers.")] = False,
) -> None:
    """Run a recipe: sample, judge, pair, train, evaluate and promote, round by round. The same command resumes it."""
    from rlaif.recipe import load_recipe
    from rlaif.rounds.run import execute
    from rlaif.rounds.setup import prepare

    console = plain_console(stderr=json_)
    resolved = load_recipe(recipe, set_, cluster)
    setup = prepare(resolved, runs)
    with stop_signals(f"{setup.path}: stopped; the run keeps what is committed. The same command resumes it."):
        console.print(f"[bold]{resolved.name}[/bold]: {len(setup.train)} questions to learn from, ", end="")
        console.print(f"{len(setup.heldout)} held out, judge {setup.judge.name}, in {setup.path}")
        with TerminalProgress(console) as progress:
            outcome = execute(setup, address, progress, verbose)
    from rlaif.reporting.html import write_report
    from rlaif.reporting.summary import summarize
    from rlaif.reporting.terminal import policies_table
    from rlaif.store.rundir import RunDir

    report = write_report(outcome.path)
    console.print(policies_table(summarize(RunDir(outcome.path))))
    if outcome.stopped:
        console.print(outcome.stopped)
    console.print(f"report: {report}", soft_wrap=True)
    if json_:
        typer.echo(json.dumps({"run": outcome.path, "rounds": outcome.rounds, "stopped": outcome.stopped}))


def plan(
    recipe: Recipe,
    set_: Overrides = None,
    cluster: Cluster = None,
    address: Annotated[
        str | None,
        typer.Option(help="Plan for the machines of a Ray cluster: its dashboard, such as http://HEAD:8265."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option(min=1, help="Number of GPUs; as many as the recipe needs if left out.")
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="Number of machines.")] = None,
    gpu_type: Annotated[str | None, typer.Option(help="h100, h200, a100-80gb, a100-40gb, l40s, a10g or l4.")] = None,
    gpu_memory: Annotated[float | None, typer.Option(min=1, metavar="GIB", help="Memory of a GPU.")] = None,
    host_memory: Annotated[float | None, typer.Option(min=1, metavar="GIB", help="Memory of a CPU node.")] = None,
    tflops: Annotated[
        float | None, typer.Option(min=0.001, help="Peak TFLOP/s of a GPU (bfloat16) or of a CPU node (float32).")
    ] = None,
    bandwidth: Annotated[
        float | None, typer.Option(min=0.001, metavar="TB/S", help="Memory bandwidth of a GPU.")
    ] = None,
    price: Annotated[
        float | None, typer.Option("--price-per-gpu-hour", min=0, help="Price of a GPU (or a CPU node) per hour.")
    ] = None,
    questions: Annotated[
        int | None, typer.Option(min=1, help="Number of training questions, instead of the number found.")
    ] = None,
    prompt_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean tokens of a prompt, instead of the measured mean.")
    ] = None,
    answer_tokens: Annotated[int | None, typer.Option(min=1, help="Mean tokens of an answer.")] = None,
    json_: Json = False,
) -> None:
    """Show where a recipe's engines and workers go, and the memory, tokens, time and money that a run needs."""
    from rlaif.planning.hardware import HardwareOptions, hardware_of
    from rlaif.planning.plan import PlanOptions, make_plan
    from rlaif.planning.plan_view import plan_json, plan_view
    from rlaif.recipe import load_recipe

    hardware = HardwareOptions(gpus, nodes, gpu_type, gpu_memory, host_memory, tflops, bandwidth, price)
    if address is not None:
        from rlaif.jobs.ray_head import nodes as live_nodes

        hardware = hardware_of(live_nodes(address), hardware, address)
    made = make_plan(load_recipe(recipe, set_, cluster), PlanOptions(hardware, questions, prompt_tokens, answer_tokens))
    if json_:
        typer.echo(json.dumps(plan_json(made), indent=2))
        return
    console = plain_console()
    for part in plan_view(made):
        console.print(part)


def predict(
    questions: Annotated[str, typer.Option(help="File with a question column: JSON, CSV or Parquet.")],
    output: Annotated[
        str,
        typer.Option("--output", "-o", help="CSV to write: id, answer, passage; of documents also chunk and page."),
    ],
    run: Annotated[
        str | None, typer.Option("--run", help="Run whose current policy answers: its name or path.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Model that answers: hub id, directory, an adapter or builtin:...")
    ] = None,
    runs: Runs = "runs",
    columns: ColumnsOption = None,
    documents: Annotated[
        str | None, typer.Option(help="Folder of the documents that questions without a context are about.")
    ] = None,
    address: RayAddress = None,
    set_: Overrides = None,
) -> None:
    """Answer questions greedily, each with the passage of its context that best supports the answer."""
    from rlaif.errors import UserError
    from rlaif.evaluation.predict import predict_with_model, predict_with_run
    from rlaif.io.column_names import parse_columns

    if (run is None) == (policy is None):
        raise UserError("predict: expected one of --run and --policy")
    answer = partial(predict_with_model, str(policy)) if run is None else partial(predict_with_run, run, runs)
    named = parse_columns(columns) if columns else None
    with working("predict: stopped; nothing was written", stderr=True) as progress:
        count = answer(
            questions, output, columns=named, documents=documents, overrides=set_ or [], address=address,
            progress=progress,
        )  # fmt: skip
    progress.console.print(f"{count} answers in {output}")


def merge(
    policy: Annotated[
        str,
        typer.Argument(
            metavar="POLICY", help="A run, whose current policy is taken, or an adapter's folder or hub id."
        ),
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Folder to make for the weights.")],
    runs: Runs = "runs",
    json_: Json = False,
) -> None:
    """Write the plain weights of a policy that is an adapter: its base with the adapter merged into it."""
    from rlaif.store.merged_policy import merge_policy

    record = merge_policy(policy, output, runs=runs)
    text = f"{output}: {record.base.model} with {record.adapter} merged into it, sha256 {record.id[:12]}"
    typer.echo(json.dumps({"policy": output, **record.model_dump()}) if json_ else text)


def trace(
    run: RunName,
    pair_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="A pair's id, or its beginning; or the id of a demonstration, a rating or a rollout."
        ),
    ],
    runs: Runs = "runs",
    json_: Json = False,
) -> None:
    """Show the history of a pair, or of an answer: prompt, answers, verdicts, and the policy that it trained."""
    from rlaif.reporting.answer_view import answer_view
    from rlaif.reporting.terminal import lineage_view
    from rlaif.store.answer_trace import trace_answer
    from rlaif.store.rundir import find_run
    from rlaif.store.trace import trace_pair

    directory = find_run(run, runs)
    if (answer := trace_answer(directory, pair_id)) is not None:
        print_result(asdict(answer), answer_view(answer), json_)
        return
    lineage = trace_pair(directory, pair_id)
    print_result(asdict(lineage), lineage_view(lineage), json_)


def report(
    run: RunName,
    runs: Runs = "runs",
    out: Annotated[str | None, typer.Option(help="Page to write; the run's report.html if left out.")] = None,
    json_: Json = False,
) -> None:
    """Show how a run's policies do on the held-out questions, and write report.html."""
    from rlaif.reporting.html import write_report
    from rlaif.reporting.summary import summarize, summary_json
    from rlaif.reporting.terminal import policies_table
    from rlaif.store.rundir import find_run

    directory = find_run(run, runs)
    page = write_report(directory.root, out)
    summary = summarize(directory)
    if json_:
        typer.echo(json.dumps({**summary_json(summary), "report": page}))
        return
    console = plain_console()
    console.print(policies_table(summary))
    for record in summary.people:
        console.print(record.summary, markup=False)
    for line in summary.missing:
        console.print(f"not there yet: {line}", markup=False)
    console.print(f"report: {page}", markup=False, soft_wrap=True)


def runs(runs: Runs = "runs", json_: Json = False) -> None:
    """List the runs in a folder: their progress, and each current policy against its initial one."""
    from rlaif.errors import UserError
    from rlaif.reporting.summary import summarize, summary_json
    from rlaif.reporting.terminal import runs_table
    from rlaif.store.rundir import list_runs

    summaries, unreadable = [], []
    for directory in list_runs(runs):
        try:
            summaries.append(summarize(directory))
        except UserError as error:
            unreadable.append(error)
    if json_:
        typer.echo(json.dumps([summary_json(summary) for summary in summaries]))
    elif summaries:
        plain_console().print(runs_table(summaries))
    elif not unreadable:
        typer.echo(f"no runs in {runs}")
    if codes := [errors.report(error) for error in unreadable]:
        raise typer.Exit(max(codes))
