"""Renders a manifest from values and a template in `cluster/`.

Invariant: every value is quoted for the manifest's language (YAML or shell); an undefined value is an error.
"""

import importlib.metadata
import json
import shlex
from pathlib import Path

from pydantic import TypeAdapter

from rlaif.errors import UserError
from rlaif.io.resources import resource_folders
from rlaif.io.yaml_file import read_mapping, validated
from rlaif.jobs.manifest_values import Kind, Values

TEMPLATES: dict[Kind, str] = {
    "kuberay-job": "kuberay/rayjob.yaml.j2",
    "kuberay-cluster": "kuberay/raycluster.yaml.j2",
    "slurm": "slurm/run.sbatch.j2",
    "ray-up": "ray-up/aws.yaml.j2",
}


def load_values(path: str | None, overrides: list[str] | None = None) -> Values:
    """Read and check the values of a cluster.

    Args:
        path: of a YAML file; None for `cluster/values.yaml`.
        overrides: `a.b=value` each, the value in YAML; later ones win.

    Raises:
        UserError: names the file, the key and the expected value.
    """
    file = Path(path) if path is not None else _find("values.yaml")
    if not file.is_file():
        raise UserError(f"--values {path}: no such file")
    mapping = read_mapping(file)
    for override in overrides or []:
        mapping.override(override)
    return validated(TypeAdapter(Values), mapping)


def render(kind: Kind, values: Values) -> str:
    """Return a manifest.

    Raises:
        UserError: the values do not suit this kind of manifest.
    """
    if kind == "ray-up" and values.aws.security_group is None:
        raise UserError(
            "aws.security_group: missing; expected the id of a security group (sg-...): the group that Ray would "
            "create opens port 22 to everyone"
        )
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if kind.startswith("kuberay") and "://" not in values.runs and values.kubernetes.volume is None:
        raise UserError(
            f"runs: {values.runs} is a folder, but without kubernetes.volume pods share no folder; "
            "expected kubernetes.volume (a PersistentVolumeClaim), or a URL such as s3://bucket/runs"
        )
    environment = Environment(
        loader=FileSystemLoader([str(folder) for folder in resource_folders("cluster")]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        # Jinja's default, `{#`, occurs in bash: `${#array[@]}`.
        comment_start_string="{##",
        comment_end_string="##}",
    )
    # JSON strings are YAML scalars.
    environment.filters["y"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    return environment.get_template(TEMPLATES[kind]).render(v=values, ray_version=importlib.metadata.version("ray"))


def _find(name: str) -> Path:
    for folder in resource_folders("cluster"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"cluster/{name}: not found; expected it in the working directory or in the installed rlaif")
