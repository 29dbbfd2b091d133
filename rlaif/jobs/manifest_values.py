"""The values of manifests.

Invariant: no value is a secret; keys and tokens are named, and stay in the cluster's own stores.
"""

import re
from typing import Literal

from pydantic import Field, field_validator, model_validator

from rlaif.recipe.base import Section

_LABEL = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
SHARED = "/shared"
"""Path of the shared volume in a pod."""


class Machine(Section):
    """One machine."""

    cpus: int = Field(ge=1)
    """Cores."""
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
    """Region."""
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
    """A cluster, or a job with its own cluster."""

    name: str = Field(default="rlaif", pattern=_LABEL, max_length=40)
    """Name of the cluster and of a job's run: a DNS label."""
    image: str = Field(min_length=1)
    """Container image with rlaif, including its tag."""
    nodes: int = Field(default=1, ge=1)
    """Nodes with GPUs."""
    gpus: int = Field(default=8, ge=0)
    """GPUs of each node; 0 for a cluster of CPUs."""
    cpus: int = Field(default=64, ge=1)
    """Cores of each node."""
    memory: int = Field(default=512, ge=1)
    """Memory of each node, in GiB."""
    head: Machine = Machine(cpus=8, memory=32)
    """The head: Ray's control plane and the driver."""
    recipe: str = "llama-8b-8gpu"
    """Recipe of a job: a name, or a path on the head."""
    hours: int = Field(default=24, ge=1)
    """Time limit of a job."""
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
        volume, inside = self.kubernetes.volume, self.runs.startswith(f"{SHARED}/")
        if volume is not None and "://" not in self.runs and not inside:
            raise ValueError(f"runs: {self.runs} is not on kubernetes.volume; expected a path below {SHARED}, or a URL")
        return self


Kind = Literal["kuberay-job", "kuberay-cluster", "slurm", "ray-up"]
