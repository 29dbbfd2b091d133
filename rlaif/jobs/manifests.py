"""From values and a template of `cluster/` to a manifest.

Invariant: every value stands in the manifest as data, quoted for the language that it stands in; a value that a
template names and that there is not is an error.
"""

import importlib.metadata
import json
import shlex
from pathlib import Path
from typing import Any

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
        path: of a YAML file; None takes `cluster/values.yaml`.
        overrides: `a.b=value` each, the value in YAML; later ones win.

    Raises:
        UserError: with the file, the key and what was expected.
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
        UserError: the values do not make sense for this kind.
    """
    if kind == "ray-up" and values.aws.security_group is None:
        raise UserError(
            "aws.security_group: missing; expected the id of one (sg-...), since the one that Ray makes lets everyone "
            "reach port 22"
        )
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    if kind.startswith("kuberay") and "://" not in values.runs and values.kubernetes.volume is None:
        raise UserError(
            f"runs: {values.runs} is a folder, and kubernetes.volume is null: pods share no folder; "
            "expected a PersistentVolumeClaim, or a URL such as s3://bucket/runs"
        )
    environment = Environment(
        loader=FileSystemLoader([str(folder) for folder in resource_folders("cluster")]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        # Bash has `${#array[@]}`.
        comment_start_string="{##",
        comment_end_string="##}",
    )
    # A YAML scalar in double quotes is JSON; a word of a shell is what shlex makes of it.
    environment.filters["y"] = lambda value: json.dumps(value, ensure_ascii=False)
    environment.filters["sh"] = lambda value: shlex.quote(str(value))
    facts: dict[str, Any] = {"v": values, "ray_version": importlib.metadata.version("ray")}
    return environment.get_template(TEMPLATES[kind]).render(facts)


def _find(name: str) -> Path:
    for folder in resource_folders("cluster"):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"cluster/{name}: not found; expected it in the working directory or in the installed rlaif")
