"""Where a run's work is done: engines, training workers, and what they share. The rest of the recipe says what."""

from typing import Literal

from pydantic import Field, model_validator

from rlaif.recipe.base import Section


class EnginesSection(Section):
    """A pool of vLLM engines with one role."""

    engines: int = Field(default=1, ge=1, le=4096)
    """Engines in the pool."""
    tensor_parallel: int = Field(default=1, ge=1, le=64)
    """GPUs that one engine's weights are split over."""
    gpu_memory: float = Field(default=0.9, gt=0, le=1)
    """Share of each GPU's memory that an engine may take."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """KV cache of an engine in GiB; null takes what is left of a GPU's share, or a fair part of a CPU's free memory."""
    max_num_seqs: int = Field(default=64, ge=1, le=4096)
    """Sequences that an engine runs at once."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of an engine on a CPU; null shares the node's cores among the pool's engines."""
    eager: bool | None = None
    """Skip torch.compile and CUDA graphs; null skips them on a CPU, where compiling costs minutes and gains nothing."""


class TrainersSection(Section):
    """The workers of Ray Train."""

    workers: int = Field(default=1, ge=1, le=8192)
    """Training processes, each with a CPU and, on GPUs, one of those."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """`ddp` keeps a copy of the model on each worker, `fsdp` shards weights, gradients and optimizer over them. With
    `fsdp` only the first worker ever holds a whole model, in its node's memory, to hand it out and to save it."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of a worker on a CPU; null shares the node's cores out."""


class ClusterSection(Section):
    """Placement of a run. Changing it never changes what the run means, so a run may go on under another."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    """`auto` takes GPUs where the Ray cluster has any; `gpu` fails where it has none."""
    placement: Literal["shared", "split"] = "shared"
    """On GPUs, `shared`: engines give theirs back while the trainer has them; `split`: each keeps its own. On CPUs,
    `split` has each engine reserve one, `shared` none."""
    policy: EnginesSection = EnginesSection()
    """Engines that sample the policy."""
    judge: EnginesSection = EnginesSection()
    """Engines of a judge with a model of its own."""
    training: TrainersSection = TrainersSection()
    """Workers that train."""
    wait_minutes: float = Field(default=10.0, gt=0)
    """How long to wait for the resources asked for."""
    shortage: Literal["give_up", "go_on"] = "give_up"
    """Where they have not come by then: `give_up` with what is missing, or `go_on` with the engines and workers that
    the cluster holds, at least one of each."""

    @model_validator(mode="after")
    def _fits_the_device(self) -> "ClusterSection":
        if self.device == "cpu" and max(self.policy.tensor_parallel, self.judge.tensor_parallel) > 1:
            raise ValueError("tensor_parallel above 1 needs GPUs, but cluster.device is cpu; expected 1")
        return self
