"""The values that manifests are made from.

Invariant: no value is a secret. Keys and tokens are named, and stay where the cluster keeps them.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from rlaif.recipe.base import Section

_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SHARED = "/shared"
"""Where the shared volume is in a pod."""


class Machine(Section):
    """One machine."""

    cpus: int = Field(ge=1)
    """Cores."""
    memory: int = Field(ge=1)
    """Memory in GiB."""


class Kubernetes(Section):
    """What a Ray cluster of KubeRay uses of its namespace."""

    volume: str | None = None
    """PersistentVolumeClaim that all pods have at `/shared`; null where runs are at a URL."""
    keys: str | None = None
    """Secret whose entries become environment variables of all pods."""
    files: str | None = None
    """ConfigMap with `recipe.yaml` and the files beside it, at `/job` in the head; null takes the recipe by name."""
    service_account: str | None = None
    """ServiceAccount of all pods; null is the namespace's default, without a token."""


class Slurm(Section):
    """What a batch script needs to know of a Slurm cluster."""

    environment: str = Field(default="/shared/rlaif/.venv", pattern=r"^/")
    """Virtual environment with rlaif, at one path on all nodes."""
    partition: str | None = Field(default=None, pattern=r"^[\w.,-]+$")
    """Partition; null is the cluster's default."""
    account: str | None = Field(default=None, pattern=r"^[\w.-]+$")
    """Account that pays; null is the user's default."""


class Aws(Section):
    """What Ray's launcher needs to know of an AWS account."""

    region: str = "us-west-2"
    """Region."""
    zones: str = "us-west-2a,us-west-2b"
    """Availability zones to try, in order."""
    head_type: str = "m7i.2xlarge"
    """Instance type of the head."""
    worker_type: str = "p5.48xlarge"
    """Instance type of a node with GPUs."""
    security_group: str | None = Field(default=None, pattern=r"^sg-[0-9a-f]+$")
    """Security group of all nodes: they reach each other, and you reach port 22."""
    instance_profile: str | None = None
    """ARN of the profile that gives nodes their rights."""


class Values(Section):
    """One cluster, or one job with a cluster of its own."""

    name: str = Field(default="rlaif", pattern=_LABEL, max_length=40)
    """Of the cluster, and of a job's run: a DNS label."""
    image: str = Field(min_length=1)
    """Container image with rlaif, its tag included."""
    nodes: int = Field(default=1, ge=1)
    """Nodes with GPUs."""
    gpus: int = Field(default=8, ge=0)
    """GPUs of each of them; 0 for a cluster of CPUs."""
    cpus: int = Field(default=64, ge=1)
    """Cores of each of them."""
    memory: int = Field(default=512, ge=1)
    """Memory of each of them, in GiB."""
    head: Machine = Machine(cpus=8, memory=32)
    """The head: Ray's control plane and the driver."""
    recipe: str = "llama-8b-8gpu"
    """Recipe of a job: a name, or a path that the head has."""
    hours: int = Field(default=24, ge=1)
    """How long a job may take."""
    runs: str = "/shared/runs"
    """Folder of the runs that all nodes share, or a URL."""
    kubernetes: Kubernetes = Kubernetes()
    slurm: Slurm = Slurm()
    aws: Aws = Aws()

    @field_validator("image")
    @classmethod
    def _a_fixed_image(cls, value: str) -> str:
        if not re.search(r"(:(?!latest$)[\w][\w.-]*|@sha256:[0-9a-f]{64})$", value):
            raise ValueError("expected a tag other than latest, or a digest, so that all nodes run the same")
        return value

    @field_validator("runs")
    @classmethod
    def _the_same_place_on_every_node(cls, value: str) -> str:
        if not value.startswith("/") and "://" not in value:
            raise ValueError("expected an absolute path that all nodes share, or a URL")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _a_volume_holds_the_runs(self) -> "Values":
        volume, inside = self.kubernetes.volume, self.runs.startswith(f"{SHARED}/")
        if volume is not None and "://" not in self.runs and not inside:
            raise ValueError(f"runs: {self.runs} is not on kubernetes.volume; expected a path below {SHARED}, or a URL")
        return self


Kind = Literal["kuberay-job", "kuberay-cluster", "slurm", "ray-up"]
