"""Options and arguments that several commands share."""

from typing import Annotated

import typer

BUILTIN = "builtin:smollm2-135m"

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="Path of a recipe, or the name of one in recipes/.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a setting.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="FILE", help="File with the `cluster:` section to use.")
]
RunName = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's name in the folder of runs, or its path or URL.")
]
Runs = Annotated[str, typer.Option("--runs", help="Folder or URL that holds the runs.")]
RayAddress = Annotated[str | None, typer.Option("--address", help="Ray cluster to join; starts one here if left out.")]
Dashboard = Annotated[
    str,
    typer.Option(
        "--address", envvar="RAY_API_SERVER_ADDRESS", help="The Ray head's dashboard, such as http://HEAD:8265."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OutcomeJson = Annotated[bool, typer.Option("--json", help="Print the outcome as JSON, progress on standard error.")]

ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns", metavar="FIELD=COLUMN,...", help="The file's own names: question=query; `context=` reads none."
    ),
]

# Of the commands that ask a judge.
JudgedModel = Annotated[str, typer.Option("--model", help="Model behind the name `policy` of a judge file.")]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, help="Stop before endpoints charge more than this, in the currency of the judge's prices."),
]
RayIfNeeded = Annotated[
    str | None, typer.Option("--address", help="Ray cluster to join; starts one here if one is needed.")
]
JudgeJson = Annotated[bool, typer.Option("--json", help="Print JSON, progress on standard error.")]
Verbose = Annotated[bool, typer.Option(help="Show what the engines print.")]
