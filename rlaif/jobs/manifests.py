"""Kubernetes manifests, Slurm scripts and files for `ray up`, rendered from values and a template in `cluster/`.

Invariant: no value is a secret; keys and tokens are named, and stay in the cluster's own stores. Every value is quoted
for the manifest's language (YAML or shell); an undefined value is an error.
"""

import importlib.metadata
import json
import re
import shlex
from pathlib import Path

from pydantic import Field, TypeAdapter, field_validator, model_validator

from rlaif.errors import UserError
from rlaif.io.resources import resource_folders
from rlaif.io.yaml_file import read_mapping, validated
from rlaif.recipe.base import Section

TEMPLATES = {
    "kuberay-job": "kuberay/rayjob.yaml.j2",
    "kuberay-cluster": "kuberay/raycluster.yaml.j2",
    "slurm": "slurm/run.sbatch.j2",
    "ray-up": "ray-up/aws.yaml.j2",
}

_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"


class Machine(Section):
    """One machine."""

    cpus: int = Field(ge=1)
    memory: int = Field(ge=1)
    """Memory in GiB."""


class Kubernetes(Section):
    """The objects in the namespace that a KubeRay cluster uses."""

    volume: str | None = None
    """PersistentVolumeClaim that all pods mount at `/shared`; null if runs are at a URL."""
    keys: str | None = None
    """Secret whose entries become environment variables of all pods."""
    files: str | None = None
    """ConfigMap with `recipe.yaml` and its files, mounted at `/job` in the head; null uses `recipe`."""
    service_account: str | None = None
    """ServiceAccount of all pods; null for the namespace's default, without a token."""


class Slurm(Section):
    """The Slurm cluster of a batch script."""

    environment: str = Field(default="/shared/rlaif/.venv", pattern=r"^/")
    """Virtual environment with rlaif, at the same path on all nodes."""
    partition: str | None = Field(default=None, pattern=r"^[\w.,-]+$")
    """Partition; null for the cluster's default."""
    account: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """Account that pays; null for the user's default."""


class Aws(Section):
    """The AWS account that Ray's launcher uses."""

    region: str = "us-west-2"
    zones: str = "us-west-2a,us-west-2b"
    """Availability zones to try, in order."""
    head_type: str = "m7i.2xlarge"
    """Instance type of the head."""
    worker_type: str = "p5.48xlarge"
    """Instance type of a node with GPUs."""
    security_group: str | None = Field(default=None, pattern=r"^sg-[0-9a-f]+$")
    """Security group of all nodes: opens all ports between them, and port 22 for you."""
    instance_profile: str | None = None
    """ARN of the nodes' instance profile, which grants their permissions."""


class Values(Section):
    """A cluster, or a job with its own cluster. `gpus`, `cpus` and `memory` are those of each node with GPUs."""

    name: str = Field(default="rlaif", pattern=_LABEL, max_length=40)
    """Name of the cluster and of a job's run: a DNS label."""
    image: str = Field(min_length=1)
    """Container image with rlaif, including its tag."""
    nodes: int = Field(default=1, ge=1)
    """Nodes with GPUs."""
    gpus: int = Field(default=8, ge=0)
    """0 for a cluster of CPUs."""
    cpus: int = Field(default=64, ge=1)
    memory: int = Field(default=512, ge=1)
    """In GiB."""
    head: Machine = Machine(cpus=8, memory=32)
    """The head: Ray's control plane and the driver."""
    recipe: str = "llama-8b-8gpu"
    """Recipe of a job: a name, or a path on the head."""
    hours: int = Field(default=24, ge=1)
    runs: str = "/shared/runs"
    """Folder of the runs, shared by all nodes, or a URL."""
    kubernetes: Kubernetes = Kubernetes()
    slurm: Slurm = Slurm()
    aws: Aws = Aws()

    @field_validator("image")
    @classmethod
    def _check_image(cls, value: str) -> str:
        if not re.search(r"(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$", value):
            raise ValueError("expected a tag other than latest, or a digest, so that all nodes run the same image")
        return value

    @field_validator("runs")
    @classmethod
    def _check_runs(cls, value: str) -> str:
        if not value.startswith("/") and "://" not in value:
            raise ValueError("expected an absolute path that all nodes share, or a URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _check_volume(self) -> "Values":
        if self.kubernetes.volume is not None and "://" not in self.runs and not self.runs.startswith("/shared/"):
            raise ValueError(f"runs: {self.runs} is not on kubernetes.volume; expected a path below /shared, or a URL")
        return self


def load_values(path: str | None, overrides: list[str] | None = None) -> Values:
    """Read and check a YAML file of values, with overrides such as `a.b=value`; None reads `cluster/values.yaml`."""
    files = [Path(path)] if path is not None else [folder / "values.yaml" for folder in resource_folders("cluster")]
    file = next(filter(Path.is_file, files), None)
    if file is None:
        missing = "cluster/values.yaml: not found; expected it in the working directory or in the installed rlaif"
        raise UserError(missing if path is None else f"--values {path}: no such file")
    mapping = read_mapping(file)
    for override in overrides or []:
        mapping.override(override)
    return validated(TypeAdapter(Values), mapping)


def render(kind: str, values: Values) -> str:
    """Return a manifest of a kind of `TEMPLATES`."""
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
