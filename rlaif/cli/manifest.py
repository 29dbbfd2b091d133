"""`rlaif manifest`: files that start Ray and a run with a cluster's own tools, made from one small file of values."""

from pathlib import Path
from typing import Annotated

import typer

from rlaif.errors import UserError


def manifest(
    kind: Annotated[str, typer.Argument(help="kuberay-job, kuberay-cluster, slurm or ray-up.")],
    values: Annotated[
        str | None, typer.Option(metavar="FILE", help="File of values; cluster/values.yaml if left out.")
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a value.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="File to write instead of standard output.")
    ] = None,
) -> None:
    """Print a Kubernetes manifest, a Slurm script or a file for `ray up`, filled in with values."""
    from rlaif.jobs.manifests import TEMPLATES, load_values, render

    known = next((name for name in TEMPLATES if name == kind), None)
    if known is None:
        raise UserError(f"{kind}: unknown kind of manifest; expected one of {', '.join(TEMPLATES)}")
    text = render(known, load_values(values, set_))
    if out is None:
        typer.echo(text, nl=False)
        return
    Path(out).write_text(text, encoding="utf-8")
    typer.echo(f"{out}: written")
