"""`rlaif judge`: lists, shows, checks and tries judges, and measures them against people.

Invariant: only `try`, `report`, `compare`, `route` and `check --ask` ask a judge; the other commands only read files.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

import typer

from rlaif.cli.errors import WRONG_USE
from rlaif.cli.options import BUILTIN, ColumnsOption, JudgedModel, JudgeJson, MaxCost, RayIfNeeded, Verbose
from rlaif.cli.terminal import plain_console, print_result, working

_Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A judge in judges/, or the path of its file; NAME:reasoning, NAME:model=..."),
]
_Labels = Annotated[str, typer.Option(help="Label file: rows with id, question, answer_a, answer_b and human.")]
_Limit = Annotated[int | None, typer.Option(min=1, help="Take only the first so many labels.")]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of the intervals.")]
_Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="How models are served: cluster.judge.engines=2.")
]
_STOPPED = "stopped; what was answered is kept; run the same command to continue"


def list_(json_: JudgeJson = False) -> None:
    """List the judges that have a name: their kind, prompt, model and identity."""
    from pathlib import Path

    from rlaif.errors import UserError
    from rlaif.io.resources import find_resource, list_resources
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.reporting.judge.terminal import judges_table

    rows: list[dict[str, Any]] = []
    for name in list_resources("judges"):
        path = find_resource("judges", name)
        where = {"path": str(path), "own": path.parent == Path.cwd() / "judges"}
        try:
            rows.append({**load_judge_file(name).describe(), **where})
        except UserError as error:
            # One bad file does not hide the others.
            rows.append({"name": name, "fault": str(error), **where})
    print_result(rows, judges_table(rows), json_)


def show(name: _Name, json_: JudgeJson = False) -> None:
    """Show a judge with all defaults: its path, its parts and its identity."""
    from rlaif.io.yaml_file import dump_yaml
    from rlaif.judges.judge_file import load_judge_file

    spec = load_judge_file(name)
    facts = {"path": str(spec.path), **spec.describe()}
    typer.echo(json.dumps(facts) if json_ else dump_yaml(facts).rstrip())


def check(
    path: Annotated[str, typer.Argument(metavar="PATH", help="A judge or prompt file: its path or name.")],
    ask: Annotated[
        bool, typer.Option("--ask", help="Also ask each endpoint, function and URL of the judge one small question.")
    ] = False,
    json_: JudgeJson = False,
) -> None:
    """Check a judge file with all that it names, or a prompt file; every fault has its file and line."""
    import asyncio

    from rlaif.errors import UserError
    from rlaif.judges.build import ask_endpoints
    from rlaif.judges.check import check_judge, is_prompt
    from rlaif.judges.judge_file import load_judge_file

    if ask and is_prompt(path):
        raise UserError(f"{path}: a prompt file; --ask expects a judge file, which says who is asked")
    faults = check_judge(path)
    facts = [{"path": fault.path, "line": fault.line, "message": fault.message} for fault in faults]
    lines = [str(fault) for fault in faults] or [f"{path}: no fault found"]
    if ask and not faults:
        asked = asyncio.run(ask_endpoints(load_judge_file(path)))
        lines += [f"{name}: answers" for name in asked] or [f"{path}: asks no endpoint, function or URL"]
    typer.echo(json.dumps(facts) if json_ else "\n".join(lines))
    if faults:
        raise typer.Exit(WRONG_USE)


def try_(
    name: _Name,
    question: Annotated[str, typer.Option(help="The question.")],
    a: Annotated[str, typer.Option("--a", help="One answer.")],
    b: Annotated[str, typer.Option("--b", help="The other answer.")],
    *,
    context: Annotated[str, typer.Option(help="The text that the answers should follow from.")] = "",
    reference: Annotated[str | None, typer.Option(help="The gold answer.")] = None,
    model: JudgedModel = BUILTIN,
    set_: _Set = None,
    address: RayIfNeeded = None,
    json_: JudgeJson = False,
    verbose: Verbose = False,
) -> None:
    """Ask a judge about two answers to one question, and print its verdicts and its decision."""
    from rlaif.data.labels import Label
    from rlaif.judge_evals.evaluate import try_judge
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.reporting.judge.terminal import judged_view

    spec = load_judge_file(name)
    label = Label(
        id="try", question=question, context=context, gold_answer=reference, answer_a=a, answer_b=b, human="tie"
    )
    serving = Serving(serving_settings(model, set_ or []), address, verbose)
    with working("judge try: stopped", stderr=json_) as progress:
        judged = try_judge(spec, label, serving, progress)
    decision = asdict(judged.decision) if judged.decision else None
    facts = {"verdicts": [asdict(verdict) for verdict in judged.verdicts], "decision": decision}
    print_result(facts, judged_view(judged), json_)


def report(
    name: _Name,
    labels: _Labels,
    out: Annotated[str | None, typer.Option(help="Folder for report.html, report.json and verdicts.parquet.")] = None,
    attacks: Annotated[int, typer.Option(metavar="N", min=0, help="Attack N right verdicts in every known way.")] = 0,
    *,
    limit: _Limit = None,
    columns: ColumnsOption = None,
    model: JudgedModel = BUILTIN,
    set_: _Set = None,
    seed: _Seed = 0,
    max_cost: MaxCost = None,
    address: RayIfNeeded = None,
    json_: JudgeJson = False,
    verbose: Verbose = False,
) -> None:
    """Measure a judge against people: its accuracy, its biases, and its cost."""
    from rlaif.data.labels import load_labels
    from rlaif.io.column_names import parse_columns
    from rlaif.judge_evals.evaluate import measure_judge
    from rlaif.judge_evals.judge_report import report_json
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.reporting.judge.html import write_report
    from rlaif.reporting.judge.terminal import report_view

    spec, read = load_judge_file(name), load_labels(labels, limit, parse_columns(columns))
    serving = Serving(serving_settings(model, set_ or []), address, verbose, max_cost)
    with working(f"judge report: {_STOPPED}", stderr=json_) as progress:
        made = measure_judge(spec, read, serving, progress, path=labels, attacks=attacks, seed=seed)
    page = write_report(made, out) if out is not None else None
    if json_:
        typer.echo(json.dumps({**report_json(made), "report": page}))
        return
    console = plain_console()
    console.print(report_view(made))
    if page is not None:
        console.print(f"report: {page}", markup=False, soft_wrap=True)


def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A judge's name or path.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another judge's.")],
    labels: _Labels,
    *,
    limit: _Limit = None,
    columns: ColumnsOption = None,
    model: JudgedModel = BUILTIN,
    set_: _Set = None,
    seed: _Seed = 0,
    max_cost: MaxCost = None,
    address: RayIfNeeded = None,
    json_: JudgeJson = False,
    verbose: Verbose = False,
) -> None:
    """Compare two judges on the same labels: which one is right more often, and whether that may be chance."""
    from rlaif.data.labels import load_labels
    from rlaif.io.column_names import parse_columns
    from rlaif.judge_evals.comparison import comparison_json
    from rlaif.judge_evals.evaluate import compare_judges
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.reporting.judge.terminal import comparison_view

    one, other = load_judge_file(first), load_judge_file(second)
    read = load_labels(labels, limit, parse_columns(columns))
    serving = Serving(serving_settings(model, set_ or []), address, verbose, max_cost)
    with working(f"judge compare: {_STOPPED}", stderr=json_) as progress:
        found = compare_judges(one, other, read, serving, progress=progress, seed=seed)
    facts = comparison_json((one.describe(), other.describe()), found)
    print_result(facts, comparison_view((one.name, other.name), found), json_)


def route(
    name: _Name,
    labels: _Labels,
    share: Annotated[
        list[float] | None, typer.Option(min=0, max=1, help="Share of the labels that people decide; may be repeated.")
    ] = None,
    *,
    limit: _Limit = None,
    columns: ColumnsOption = None,
    model: JudgedModel = BUILTIN,
    set_: _Set = None,
    seed: _Seed = 0,
    max_cost: MaxCost = None,
    address: RayIfNeeded = None,
    json_: JudgeJson = False,
    verbose: Verbose = False,
) -> None:
    """Replay on labels which comparisons to ask people about, and what their answers add, beside asking at random."""
    from rlaif.data.labels import load_labels
    from rlaif.io.column_names import parse_columns
    from rlaif.judge_evals.evaluate import route_judge
    from rlaif.judge_evals.routing import SHARES, routing_json
    from rlaif.judges.judge_file import load_judge_file
    from rlaif.judges.serving import Serving, serving_settings
    from rlaif.reporting.judge.terminal import routing_view

    spec, read = load_judge_file(name), load_labels(labels, limit, parse_columns(columns))
    serving = Serving(serving_settings(model, set_ or []), address, verbose, max_cost)
    with working(f"judge route: {_STOPPED}", stderr=json_) as progress:
        found = route_judge(spec, read, serving, progress, shares=sorted(share or SHARES), seed=seed)
    print_result(routing_json(spec.describe(), found), routing_view(spec.name, found), json_)


def labels(
    source: Annotated[
        str, typer.Argument(metavar="FROM", help="File of pairs or of marked answers: JSON, CSV or Parquet.")
    ],
    output: Annotated[str, typer.Option("--output", "-o", help="Label file to write.")],
    form: Annotated[
        Literal["llmbar", "marks"] | None, typer.Option("--format", help="Form of FROM; by default its columns decide.")
    ] = None,
    questions: Annotated[
        str | None, typer.Option(help="For marks: a file with id, context, gold_answer and criteria of the questions.")
    ] = None,
    *,
    columns: ColumnsOption = None,
    question_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN,...", help="The same for the file of --questions: gold_answer=target."),
    ] = None,
    part: Annotated[str | None, typer.Option(metavar="K/N", help="Take the k-th of n parts of the questions.")] = None,
    max_pairs_per_question: Annotated[
        int | None, typer.Option(min=1, help="For marks: draw so many pairs of each question.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn pairs and of the answers' order.")] = 0,
    json_: JudgeJson = False,
) -> None:
    """Make a label file of LLMBar's pairs, or of answers that people marked correct, incorrect or refused."""
    from rlaif.data.label_conversion import convert_labels, parse_part
    from rlaif.data.labels import labels_jsonl
    from rlaif.io.column_names import parse_columns
    from rlaif.io.files import write_bytes

    made = convert_labels(
        source,
        form=form,
        questions=questions,
        part=None if part is None else parse_part(part),
        max_pairs_per_question=max_pairs_per_question,
        seed=seed,
        columns=parse_columns(columns),
        question_columns=parse_columns(question_columns, "--question-columns"),
    )
    write_bytes(output, labels_jsonl(made.labels))
    if json_:
        typer.echo(json.dumps({"format": made.format, "rows": made.rows, **made.counts, "labels": len(made.labels)}))
        return
    counts = ", ".join(f"{count:,} {name}" for name, count in made.counts.items())
    typer.echo(f"{made.rows:,} rows of the form {made.format}: {counts}, in {output}")


COMMANDS: dict[str, Callable[..., Any]] = {
    "list": list_, "show": show, "check": check, "try": try_, "report": report, "compare": compare, "route": route,
    "labels": labels,
}  # fmt: skip
